"""Peers that were removed."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("peers", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "removed_at",
                sa.DateTime(timezone=True),
                nullable=True,
                comment="null: it is registered",
            )
        )


def downgrade() -> None:
    """Take back; who was removed has no certificate left, and cannot call without one."""
    op.execute(
        "UPDATE peers SET tls_required = true, notify = false, priors = false"
        " WHERE removed_at IS NOT NULL"
    )
    with op.batch_alter_table("peers", schema=None) as batch_op:
        batch_op.drop_column("removed_at")
