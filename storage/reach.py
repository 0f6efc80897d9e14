"""Whether the packs that the index names can be had from this host.

Of each node the first and the last pack that it made are looked for: what this host lacks is a
directory, a mount or a bucket that hosts do not share, and seldom one pack.  Each pack by itself is
re-read by scrub, at the node that made it.
"""

from dataclasses import dataclass

from sqlalchemy import func, or_, select

from storage.engine import Database, Transaction
from storage.objects import ObjectStore
from storage.tables.archive import PACKS


@dataclass(frozen=True, slots=True)
class Reach:
    """Nodes by whether what was looked for of their packs is in the object store of this host."""

    here: tuple[str, ...]
    lacking: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Say whether nothing has to be done."""
        return not self.lacking

    @property
    def sentence(self) -> str:
        """What there is to be told, for who looks after the node."""
        if self.lacking:
            return (
                f"packs of {', '.join(self.lacking)} are not in the object store of this host: "
                "what lies in them cannot be had here; hosts of one database share one store"
            )
        if self.here:
            return f"of {', '.join(self.here)} the first and the last pack are here"
        return "nothing is packed yet"


def reach_of(database: Database, objects: ObjectStore) -> Reach:
    """Look for packs of each node in an object store.

    Raises
    ------
    ObjectStoreUnavailable
        The store does not answer.
    """
    with database.reading() as tx:
        looked_for = _looked_for(tx)
    lacking = {key: node for key, node in looked_for.items() if objects.size(key) is None}
    if lacking:
        with database.reading() as tx:  # a pack that was rewritten meanwhile is rightly gone
            kept = select(PACKS.c.pack_key).where(PACKS.c.pack_key.in_(lacking))
            lacking = {key: lacking[key] for key in tx.execute(kept).scalars()}
    nodes = {*looked_for.values()}
    return Reach(
        here=tuple(sorted(nodes.difference(lacking.values()))),
        lacking=tuple(sorted({*lacking.values()})),
    )


def _looked_for(tx: Transaction) -> dict[str, str]:
    """Return the first and the last pack of each node by their keys, with the node."""
    ends = (
        select(
            PACKS.c.node,
            func.min(PACKS.c.packed_at).label("first"),
            func.max(PACKS.c.packed_at).label("last"),
        )
        .group_by(PACKS.c.node)
        .subquery()
    )
    at_an_end = or_(PACKS.c.packed_at == ends.c.first, PACKS.c.packed_at == ends.c.last)
    found = tx.execute(
        select(func.min(PACKS.c.pack_key).label("pack_key"), PACKS.c.node)
        .join(ends, (ends.c.node == PACKS.c.node) & at_an_end)
        .group_by(PACKS.c.node, PACKS.c.packed_at)
    )
    return {row.pack_key: row.node for row in found}
