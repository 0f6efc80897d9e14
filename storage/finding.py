"""What a look at the archive found, for who looks after the node."""

from typing import Protocol


class Finding(Protocol):
    """Whether it is as it should be, and what there is to be told."""

    @property
    def is_well(self) -> bool:
        """Say whether nothing has to be done."""

    @property
    def sentence(self) -> str:
        """What there is to be told."""
