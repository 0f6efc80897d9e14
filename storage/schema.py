"""Whether a database has the schema of this version: asked at every start, without alembic."""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

_VERSIONS = Path(__file__).parent / "migrations" / "versions"


@cache
def head() -> str:
    """Return the last migration of this version; they are numbered, each after the one before."""
    return max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


def is_current(connection: Connection) -> bool:
    """Say whether the database has seen every migration, and none of a later version."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    seen = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
    return set(seen) == {head()}
