"""Who may reach a tenant's rows in PostgreSQL: its own two roles, each what it is for, and nobody else.

Asked each night before publishing, because grants are made by hand as well, and one is enough. It is no check of a suite: no tenant's file
can silence it.
"""

from __future__ import annotations

from typing import Final

from nocturne.postgres import Connection
from nocturne.tenants import Tenant

_GRANTS: Final = """
WITH things AS (
    SELECT nspname AS of_schema, NULL::text AS of_table, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
    UNION ALL
    SELECT n.nspname, c.relname::text, c.relowner, coalesce(c.relacl, acldefault('r', c.relowner))
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
)
SELECT things.of_schema, things.of_table, pg_get_userbyid(things.owner),
    CASE WHEN given.grantee = 0 THEN 'everybody' ELSE pg_get_userbyid(given.grantee) END, given.privilege_type
FROM things CROSS JOIN LATERAL aclexplode(things.acl) AS given ORDER BY 1, 2 NULLS FIRST, 4, 5
"""
_MEMBERS: Final = """
SELECT pg_get_userbyid(roleid), pg_get_userbyid(member) FROM pg_auth_members
WHERE pg_get_userbyid(roleid) = ANY(%(roles)s) OR pg_get_userbyid(member) = ANY(%(roles)s) ORDER BY 1, 2
"""


def strangers(connection: Connection, tenant: Tenant, installation: str) -> list[str]:
    """Everything by which somebody else reaches a tenant's schemas, or its roles reach elsewhere; empty: nobody does.

    Reads the catalogue. `installation` is the role that makes tenants; it, like a superuser, is nobody's tenant.
    """
    found: list[str] = []
    open_schemas = {tenant.marts_schema, tenant.ml_schema}
    trusted = {installation} | {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall()}
    for schema, table, owner, grantee, privilege in connection.execute(_GRANTS, {"schemas": list(tenant.schemas)}).fetchall():
        what = f"{schema}.{table}" if table else f"the schema {schema}"
        if owner != tenant.owner_role:
            found.append(f"{what} belongs to {owner}")
        if grantee == tenant.reader_role:
            if schema not in open_schemas or privilege not in ("SELECT", "USAGE"):
                found.append(f"{grantee} has {privilege} on {what}")
        elif grantee != tenant.owner_role and grantee not in trusted:
            found.append(f"{grantee} has {privilege} on {what}")
    for role, member in connection.execute(_MEMBERS, {"roles": [tenant.owner_role, tenant.reader_role]}).fetchall():
        if member not in trusted:
            found.append(f"{member} is a member of {role}")
    return list(dict.fromkeys(found))
