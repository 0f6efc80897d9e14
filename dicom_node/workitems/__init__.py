"""Workitems: Unified Procedure Steps, their states, and who is told of them (PS3.4 Annex CC)."""
