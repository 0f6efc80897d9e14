"""The beginning of what is unsettled."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.create_index(
            "ix_studies_begun",
            ["first_arrival_at"],
            unique=False,
            sqlite_where=sa.text("unsettled = 1"),
            postgresql_where=sa.text("unsettled"),
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.drop_index("ix_studies_begun")
