"""Settled studies that still wait for their pack, and those that cannot be packed.

How many wait is read from the index; why one cannot be packed is noted beside the damage that scrub
finds, so that it is told, counted and alarmed about as that is.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import distinct, func, not_, select

from storage.engine import Transaction
from storage.scrub import STUDY, note
from storage.tables.archive import INSTANCES, STUDIES
from storage.tables.scrub import DAMAGES

LONG = timedelta(hours=1)
"""A settled study is packed within seconds, but for what arrives meanwhile and goes first."""
_NOT_PACKED = "the study is not packed: "


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Studies that wait for longer than `LONG`.

    Parameters
    ----------
    since
        The last arrival of the one that waits the longest.
    codes
        Why some of all that wait cannot be packed, with how many for each reason.
    nodes
        Whose journals hold what waits; each packs its own, and nobody else can.
    """

    studies: int
    since: datetime | None
    codes: tuple[tuple[str, int], ...]
    nodes: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Say whether nothing has to be done."""
        return not self.codes

    @property
    def sentence(self) -> str:
        """What there is to be told, for who looks after the node."""
        told = "no settled study waits for its pack for long"
        if self.since is not None:
            told = (
                f"{self.studies} settled studies wait for their pack, the longest since "
                f"{self.since:%Y-%m-%d %H:%M} UTC, in the journals of {', '.join(self.nodes)}; "
                "each packs its own once it runs"
            )
        refused = [f"{count} for {code}" for code, count in self.codes]
        return told + (f"; cannot be packed: {', '.join(refused)}" if refused else "")


def not_packed(tx: Transaction, node: str, study_uid: str, code: str) -> None:
    """Note that a study cannot be packed, and why."""
    note(tx, node, f"{STUDY}{study_uid}", f"{_NOT_PACKED}{code}")


def packed(tx: Transaction, node: str, study_uid: str) -> None:
    """Take back that a study cannot be packed; it is."""
    note(tx, node, f"{STUDY}{study_uid}", None)


def refused(tx: Transaction, node: str) -> set[str]:
    """Return the studies of a node that are noted not to be packed."""
    named = select(DAMAGES.c.name).where(DAMAGES.c.node == node, DAMAGES.c.name.startswith(STUDY))
    return {name.removeprefix(STUDY) for name in tx.execute(named).scalars()}


def waiting(tx: Transaction) -> Unpacked:
    """Return what waits, of all nodes."""
    lying = (
        select(STUDIES.c.study_uid, STUDIES.c.last_arrival_at, INSTANCES.c.segment)
        .join(INSTANCES, INSTANCES.c.study_uid == STUDIES.c.study_uid)
        .where(
            INSTANCES.c.segment.is_not(None),
            not_(STUDIES.c.unsettled),
            STUDIES.c.last_arrival_at < tx.at - LONG,
        )
        .subquery()
    )
    studies = func.count(distinct(lying.c.study_uid)).label("studies")
    since = func.min(lying.c.last_arrival_at).label("since")
    row = tx.execute(select(studies, since).select_from(lying)).mappings().one()
    segments = tx.execute(select(lying.c.segment).distinct()).scalars()
    nodes = sorted({segment.partition("-")[0] for segment in segments})
    found = tx.execute(select(DAMAGES.c.sentence).where(DAMAGES.c.name.startswith(STUDY)))
    codes = Counter(sentence.removeprefix(_NOT_PACKED) for sentence in found.scalars())
    return Unpacked(row["studies"], row["since"], tuple(sorted(codes.items())), tuple(nodes))
