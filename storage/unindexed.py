"""Records of the journal that a start found without their row, and that cannot be indexed.

They are kept, and tried again at each start of their node; that and why they cannot is noted beside
the damage that scrub finds, so that it is told, counted and alarmed about as that is.
"""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import select

from storage.engine import Transaction
from storage.journal import Place
from storage.scrub import RECORD, note
from storage.tables.scrub import DAMAGES

_NOT_INDEXED = "a record of the journal cannot be indexed: "


@dataclass(frozen=True, slots=True)
class Unindexed:
    """Why records of the journal cannot be indexed, with how many for each reason."""

    codes: tuple[tuple[str, int], ...]

    @property
    def is_well(self) -> bool:
        """Say whether nothing has to be done."""
        return not self.codes

    @property
    def sentence(self) -> str:
        """What there is to be told, for who looks after the node."""
        if not self.codes:
            return "no start found a record that cannot be indexed"
        told = ", ".join(f"{count} for {code}" for code, count in self.codes)
        return f"records of the journal that cannot be indexed: {told}; each start tries them again"


def not_indexed(tx: Transaction, node: str, place: Place, code: str) -> None:
    """Note that a record cannot be indexed, and why."""
    note(tx, node, _name(place), f"{_NOT_INDEXED}{code}")


def indexed(tx: Transaction, node: str, place: Place) -> None:
    """Take back that a record cannot be indexed; it is."""
    note(tx, node, _name(place), None)


def unindexed(tx: Transaction) -> Unindexed:
    """Return what cannot be indexed, of all nodes."""
    found = tx.execute(select(DAMAGES.c.sentence).where(DAMAGES.c.name.startswith(RECORD)))
    codes = Counter(sentence.removeprefix(_NOT_INDEXED) for sentence in found.scalars())
    return Unindexed(tuple(sorted(codes.items())))


def _name(place: Place) -> str:
    return f"{RECORD}{place.segment}:{place.offset}"
