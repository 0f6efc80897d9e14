"""In-memory twins of the ports of this floor, for the speed of tests."""

from storage.objects import MemoryObjects

__all__ = ["MemoryObjects"]
