"""Alembic's entrance: run the migrations on the connection that `storage.migrate` hands over."""

from typing import Any, Literal

from alembic import context
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import JSON

from storage.migrate import all_tables
from storage.tables import UtcDateTime


def spelled(kind: str, item: Any, _autogen: object) -> str | Literal[False]:
    """Write our column types as plain ones, so that a migration never changes with the code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, JSON) and not isinstance(item, JSONB):
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=all_tables(),
    render_as_batch=context.config.attributes.get("batch", True),
    render_item=spelled,
    transaction_per_migration=False,
)
context.run_migrations()
