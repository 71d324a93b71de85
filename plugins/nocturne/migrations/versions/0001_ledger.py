"""The ledger: receipts, marks, leases and alerts."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.execute(
        """
        CREATE TABLE nocturne.receipts (
            receipt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            day date NOT NULL,
            station text NOT NULL,
            run_id text NOT NULL,
            outcome text NOT NULL CHECK (outcome IN ('done', 'failed')),
            error text,
            started_at timestamptz NOT NULL,
            finished_at timestamptz NOT NULL,
            cpu_seconds double precision,
            receipt jsonb NOT NULL
        );
        CREATE INDEX receipts_by_night ON nocturne.receipts (tenant, day, station, receipt_id DESC);
        CREATE INDEX receipts_by_run ON nocturne.receipts (run_id);
        CREATE TABLE nocturne.marks (
            tenant text NOT NULL,
            station text NOT NULL,
            dataset text NOT NULL,
            part text NOT NULL,
            fingerprint text NOT NULL,
            facts jsonb NOT NULL DEFAULT '{}',
            marked_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, station, dataset, part)
        );
        CREATE TABLE nocturne.leases (
            tenant text PRIMARY KEY,
            owner text NOT NULL,
            taken_at timestamptz NOT NULL DEFAULT now(),
            heartbeat_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE nocturne.alerts (
            alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            day date NOT NULL,
            alert text NOT NULL,
            severity text NOT NULL CHECK (severity IN ('info', 'warn', 'stop')),
            message text NOT NULL,
            first_raised_at timestamptz NOT NULL DEFAULT now(),
            last_raised_at timestamptz NOT NULL DEFAULT now(),
            times integer NOT NULL DEFAULT 1,
            UNIQUE (tenant, day, alert)
        );
        """
    )


def downgrade() -> None:
    """The ledger only moves forward."""
    raise NotImplementedError("restore the ledger from the backup instead")
