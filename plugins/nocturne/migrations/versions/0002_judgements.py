"""What gates found: one row a tenant, layer, table, day and part."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        CREATE TABLE nocturne.judgements (
            tenant text NOT NULL,
            layer text NOT NULL CHECK (layer IN ('bronze', 'sums', 'access', 'marts')),
            table_name text NOT NULL,
            day date NOT NULL,
            part text NOT NULL,
            score double precision,
            counts jsonb NOT NULL,
            facts jsonb NOT NULL,
            judged_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, day, layer, table_name, part)
        );
        """
    )


def downgrade() -> None:
    """The ledger only moves forward."""
    raise NotImplementedError("restore the ledger from the backup instead")
