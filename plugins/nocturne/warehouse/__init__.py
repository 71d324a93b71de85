"""The warehouse: a tenant's silver in PostgreSQL, as it stands in the lake, and the list of what has changed since marts were published.

    <slug>_raw.<dataset>            one table a dataset, columns `Dataset.postgres_columns`
    <slug>_raw.tenant rules time_zones bills    the declarations that marts need
    <slug>_raw.reconciliation silver_rows       what bronze and silver counted
    <slug>_raw.judged_days watched_models       how nights went, as the ledger tells it: what gates found, what models said of themselves
    <slug>_raw._loaded              which fingerprint of which part was loaded
    <slug>_raw._touched             (dataset, event date): whose rows differ from those that the published marts were made of
    <slug>_raw._touched_listeners   (dataset, event date, listener): the same, one step finer
    <slug>_raw._touched_rows        rows of reference datasets as they were and as they are

`publish_marts` clears what it has published from the `_touched` tables, in the transaction that publishes it.
"""

from nocturne.warehouse.loading import load_warehouse

__all__ = ["load_warehouse"]
