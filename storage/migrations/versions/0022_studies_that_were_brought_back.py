"""Studies that were brought back stand in the list of those whose retention is over."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_BEFORE = "state IN ('proposed', 'held_back')"
_AFTER = "state IN ('proposed', 'held_back', 'restored')"
_STATES_BEFORE = "kept, proposed, held_back, prolonged, over"
_STATES_AFTER = "kept, proposed, held_back, prolonged, restored, over"


def upgrade() -> None:
    """Apply."""
    _change(_AFTER, _STATES_BEFORE, _STATES_AFTER)


def downgrade() -> None:
    """Take back."""
    op.execute("UPDATE retention_ends SET state = 'proposed' WHERE state = 'restored'")
    _change(_BEFORE, _STATES_AFTER, _STATES_BEFORE)


def _change(listed: str, states_before: str, states: str) -> None:
    with op.batch_alter_table("retention_ends", schema=None) as batch_op:
        batch_op.alter_column(
            "state",
            existing_type=sa.String(length=12),
            existing_nullable=False,
            existing_comment=states_before,
            comment=states,
        )
        batch_op.drop_index("ix_retention_ends_kept_until")
        batch_op.create_index(
            "ix_retention_ends_kept_until",
            ["kept_until"],
            unique=False,
            sqlite_where=sa.text(listed),
            postgresql_where=sa.text(listed),
        )
