"""The ledger's migrations, one Alembic revision a change; `ledger.migrate` runs them."""
