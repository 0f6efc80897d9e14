"""Digests that name their algorithm."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_RENAMED = (
    ("instances", "sha256", "digest"),
    ("arrivals", "sha256", "digest"),
    ("packs", "sha256", "digest"),
    ("triage_results", "instance_sha256", "instance_digest"),
)


def upgrade() -> None:
    """Apply; SQLite bounds no text, so that nothing is copied there."""
    for table, before, after in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")
        if op.get_bind().dialect.name == "postgresql":
            op.alter_column(table, after, type_=sa.String(71), existing_nullable=False)


def downgrade() -> None:
    """Take back; columns stay as wide as what they hold, and digests as they are."""
    for table, before, after in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {after} TO {before}")
