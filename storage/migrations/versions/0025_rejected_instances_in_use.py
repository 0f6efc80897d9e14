"""Rejected instances that stay in regular use."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_BEFORE = "waiting, withdrawn, refused"
_AFTER = "waiting, withdrawn, refused, shown"
_SHOWN = "state = 'shown'"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("rejected_instances", schema=None) as batch_op:
        batch_op.alter_column(
            "state",
            existing_type=sa.String(length=12),
            existing_nullable=False,
            existing_comment=_BEFORE,
            comment=_AFTER,
        )
        batch_op.create_index(
            "ix_rejected_instances_shown",
            ["note_uid"],
            unique=False,
            sqlite_where=sa.text(_SHOWN),
            postgresql_where=sa.text(_SHOWN),
        )


def downgrade() -> None:
    """Take back."""
    op.execute("UPDATE rejected_instances SET state = 'waiting' WHERE state = 'shown'")
    with op.batch_alter_table("rejected_instances", schema=None) as batch_op:
        batch_op.drop_index("ix_rejected_instances_shown")
        batch_op.alter_column(
            "state",
            existing_type=sa.String(length=12),
            existing_nullable=False,
            existing_comment=_AFTER,
            comment=_BEFORE,
        )
