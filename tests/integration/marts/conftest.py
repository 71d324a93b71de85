"""Worlds for the tests of the marts. Tenants keep their names, so that dbt parses each of them once a session."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nocturne.postgres import SQL, Identifier, connect, provision
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.marts.world import World


@pytest.fixture(scope="session")
def new_world(database: Settings) -> Callable[[Tenant], World]:
    """Makes an empty world of a tenant: nothing is loaded, built or published."""

    def make(tenant: Tenant) -> World:
        provision(tenant, database)
        with connect(database, role=tenant.owner_role) as connection:
            for schema in tenant.schemas[:3]:
                rows = connection.execute(
                    "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %s AND relkind = 'r'",
                    (schema,),
                ).fetchall()
                for (name,) in rows:
                    connection.execute(SQL("DROP TABLE {} CASCADE").format(Identifier(schema, name)))
        return World(tenant, database)

    return make
