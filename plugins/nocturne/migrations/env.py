"""Alembic's entry: runs the revisions on the connection that `ledger.migrate` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="revision", version_table_schema="nocturne")
with context.begin_transaction():
    context.run_migrations()
