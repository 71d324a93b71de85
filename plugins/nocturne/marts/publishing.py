"""Station: built marts -> published marts. Whoever reads them sees all of the old ones or all of the new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from nocturne.errors import BuildFailed
from nocturne.ledger import Marks, utc_now
from nocturne.marts import builds
from nocturne.marts.builds import Build, Mart
from nocturne.postgres import SQL, Composable, Connection, Identifier, Literal, at_write, connect, exclusion, statement
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_KEPT_BUILDS = 400
_MANY = 20_000
"""Rows after which the planner is told at once of what was published."""


def publish_marts(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Make the published marts equal to the built ones, in one transaction.

    Reads `<slug>_build`: of marts by date the dates that `_changed` names, of the others, and after a whole build of all, every row.
    Writes the rows of `<slug>_marts` that differ, `_publishes`, and clears what the build has worked in from the `_touched` tables.
    A re-run finds the build published and does nothing. Raises BuildFailed if the last build is not complete, DatabaseUnavailable.
    """
    started = utc_now()
    builds.prepare(tenant, settings)
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        build = builds.last_build(connection, tenant)
        if build is None or not build.is_finished:
            raise BuildFailed(
                "There is no complete build to publish.",
                next_step="Clear build_marts: it builds what is left.",
                tenant=tenant.slug,
                day=day,
            )
        entries = [Entry(name="publish", skipped=True)] if build.is_published else list(_publish(connection, tenant, build, day))
    at_write("committed the publish")
    finished = utc_now()
    return Receipt(tenant=tenant.slug, day=day, station="publish_marts", started_at=started, finished_at=finished, entries=tuple(entries))


def _publish(connection: Connection, tenant: Tenant, build: Build, day: date) -> Iterator[Entry]:
    # A reader of hours must not hold up the night for ever: the task is tried again.
    _run(connection, SQL("SET LOCAL lock_timeout = '60s'"))
    publish_id = _next_publish(connection, tenant)
    for mart in build.marts:
        exchange = Exchange(connection, tenant, mart, is_whole=build.is_full)
        changed_on = exchange.changed_dates()
        exchange.shape_table(describe=build.is_full)
        deleted, inserted = exchange.exchange_rows()
        _note(connection, tenant, publish_id, day, mart.name, inserted, deleted)
        counts = {"inserted": inserted, "deleted": deleted}
        yield Entry(name=mart.name, counts=counts, event_dates=changed_on, facts={"publish_id": publish_id})
    for name, count in _drop_others(connection, tenant, build.marts):
        _note(connection, tenant, publish_id, day, name, 0, count)
        yield Entry(name=name, counts={"inserted": 0, "deleted": count}, facts={"publish_id": publish_id, "dropped": True})
    _clear(connection, tenant, build)


@dataclass(frozen=True)
class Exchange:
    """Bringing one published mart to the built one."""

    connection: Connection
    tenant: Tenant
    mart: Mart
    is_whole: bool

    @property
    def built(self) -> Identifier:
        """The table as it was built."""
        return Identifier(self.tenant.build_schema, self.mart.name)

    @property
    def published(self) -> Identifier:
        """The table as it is published."""
        return Identifier(self.tenant.marts_schema, self.mart.name)

    def changed_dates(self) -> tuple[date, ...]:
        """The dates whose rows the build has changed, of a mart that is compared by date."""
        query = SQL("SELECT changed_on FROM {} WHERE model = %s ORDER BY changed_on").format(self._log)
        return tuple(row[0] for row in self.connection.execute(query, (self.mart.name,)))

    def shape_table(self, *, describe: bool) -> None:
        """Give the published table the built one's columns, key and indexes; with `describe`, also what its columns mean."""
        wanted, there = self._columns(self.tenant.build_schema), self._columns(self.tenant.marts_schema)
        if not there:
            self._create()
            describe = True
        for change in self._column_changes(wanted, there) if there else ():
            _run(self.connection, change)
        if describe:
            for comment in self._comments(wanted):
                _run(self.connection, comment)

    def exchange_rows(self) -> tuple[int, int]:
        """Delete the rows that are no longer so, insert those that are new; how many of each. Rows that are alike are left alone."""
        columns = SQL(", ").join(map(Identifier, self._columns(self.tenant.build_schema)))
        built = SQL("SELECT {} FROM {} {}").format(columns, self.built, self._scope)
        published = SQL("SELECT {} FROM {} {}").format(columns, self.published, self._scope)
        went = Identifier(f"{self.mart.name}__went")
        same_key = SQL(" AND ").join(SQL("standing.{0} = went.{0}").format(Identifier(column)) for column in self.mart.key)
        into = SQL("INSERT INTO {} ({}) ").format(self.published, columns)
        standing = self.connection.execute(SQL("SELECT FROM {} LIMIT 1").format(self.published)).fetchone()
        if standing is None:
            deleted, inserted = 0, _run(self.connection, into + SQL("SELECT {} FROM {}").format(columns, self.built))
        else:
            _run(self.connection, SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {} EXCEPT {}").format(went, published, built))
            deleted = _run(
                self.connection, SQL("DELETE FROM {} AS standing USING {} AS went WHERE {}").format(self.published, went, same_key)
            )
            inserted = _run(self.connection, into + SQL("{} EXCEPT {}").format(built, published))
        if inserted > _MANY:
            _run(self.connection, SQL("ANALYZE {}").format(self.published))
        return deleted, inserted

    @property
    def _log(self) -> Identifier:
        return Identifier(self.tenant.build_schema, "_changed")

    @property
    def _scope(self) -> Composable:
        if self.is_whole or self.mart.day is None:
            return SQL("")
        return SQL("WHERE {} IN (SELECT changed_on FROM {} WHERE model = {})").format(
            Identifier(self.mart.day), self._log, Literal(self.mart.name)
        )

    def _columns(self, schema: str) -> dict[str, str]:
        rows = self.connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            " AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (f"{schema}.{self.mart.name}",),
        )
        return {str(name): str(kind) for name, kind in rows}

    def _create(self) -> None:
        key = SQL(", ").join(map(Identifier, self.mart.key))
        _run(self.connection, SQL("CREATE TABLE {} (LIKE {}, PRIMARY KEY ({}))").format(self.published, self.built, key))
        _run(self.connection, SQL("GRANT SELECT ON {} TO {}").format(self.published, Identifier(self.tenant.reader_role)))
        others = self.connection.execute(
            "SELECT array(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place)"
            " FROM pg_index i WHERE i.indrelid = to_regclass(%s) AND NOT i.indisunique ORDER BY i.indexrelid",
            (f"{self.tenant.build_schema}.{self.mart.name}",),
        ).fetchall()
        for (columns,) in others:
            _run(self.connection, SQL("CREATE INDEX ON {} ({})").format(self.published, SQL(", ").join(map(Identifier, columns))))

    def _column_changes(self, wanted: dict[str, str], there: dict[str, str]) -> Iterator[Composable]:
        """Statements for the columns that newer code has, no longer has, or has with another type.

        A column that comes or goes changes the catalogue alone; another type writes the table anew.
        """
        for name, kind in wanted.items():
            column, type_name = Identifier(name), statement(kind)
            if name not in there:
                yield SQL("ALTER TABLE {} ADD COLUMN {} {}").format(self.published, column, type_name)
            elif there[name] != kind:
                yield SQL("ALTER TABLE {0} ALTER COLUMN {1} TYPE {2} USING {1}::{2}").format(self.published, column, type_name)
        for name in there.keys() - wanted.keys():
            yield SQL("ALTER TABLE {} DROP COLUMN {}").format(self.published, Identifier(name))

    def _comments(self, columns: dict[str, str]) -> Iterator[Composable]:
        yield SQL("COMMENT ON TABLE {} IS {}").format(self.published, Literal(self.mart.description))
        for name in columns:
            column = Identifier(self.tenant.marts_schema, self.mart.name, name)
            yield SQL("COMMENT ON COLUMN {} IS {}").format(column, Literal(self.mart.columns.get(name, "")))


def _run(connection: Connection, text: Composable) -> int:
    """Run one statement of the publish; the number of rows that it wrote."""
    count: int = connection.execute(text).rowcount
    at_write("publish")
    return count


def _next_publish(connection: Connection, tenant: Tenant) -> int:
    journal = Identifier(tenant.marts_schema, "_publishes")
    if connection.execute("SELECT to_regclass(%s)", (f"{tenant.marts_schema}._publishes",)).fetchone() == (None,):
        _run(
            connection,
            SQL(
                "CREATE TABLE {} (publish_id bigint NOT NULL, day date NOT NULL, published_at timestamptz NOT NULL, mart text NOT NULL,"
                " inserted bigint NOT NULL, deleted bigint NOT NULL, PRIMARY KEY (publish_id, mart))"
            ).format(journal),
        )
        _run(
            connection, SQL("COMMENT ON TABLE {} IS {}").format(journal, Literal("What each publish changed. One row a publish and mart."))
        )
        _run(connection, SQL("GRANT SELECT ON {} TO {}").format(journal, Identifier(tenant.reader_role)))
    row = connection.execute(SQL("SELECT coalesce(max(publish_id), 0) + 1 FROM {}").format(journal)).fetchone()
    return int(row[0]) if row else 1


def _note(connection: Connection, tenant: Tenant, publish_id: int, day: date, mart: str, inserted: int, deleted: int) -> None:
    connection.execute(
        SQL("INSERT INTO {} VALUES (%s, %s, now(), %s, %s, %s)").format(Identifier(tenant.marts_schema, "_publishes")),
        (publish_id, day, mart, inserted, deleted),
    )
    at_write(f"noted {mart}")


def _drop_others(connection: Connection, tenant: Tenant, marts: Sequence[Mart]) -> list[tuple[str, int]]:
    """Remove marts that were published once and that the tenant no longer has (a source was taken from its file); (name, rows) of each."""
    rows = connection.execute(
        SQL("SELECT DISTINCT mart FROM {} WHERE mart <> ALL (%s) AND to_regclass(%s || mart) IS NOT NULL ORDER BY mart").format(
            Identifier(tenant.marts_schema, "_publishes")
        ),
        ([mart.name for mart in marts], f"{tenant.marts_schema}."),
    ).fetchall()
    dropped = []
    for (name,) in rows:
        table = Identifier(tenant.marts_schema, name)
        count = connection.execute(SQL("SELECT count(*) FROM {}").format(table)).fetchone()
        _run(connection, SQL("DROP TABLE {}").format(table))
        dropped.append((str(name), int(count[0]) if count else 0))
    return dropped


def _clear(connection: Connection, tenant: Tenant, build: Build) -> None:
    """Forget what this build has worked in; what was loaded after it began stays for the next one."""
    raw, built = tenant.raw_schema, tenant.build_schema
    for table in builds.TOUCHED:
        connection.execute(statement(f"DELETE FROM {raw}.{table} WHERE touched_at <= %s"), (build.started_at,))
    _run(connection, statement(f"DELETE FROM {built}._changed"))
    if not builds.is_touched_since(connection, tenant, build.started_at):
        for table in ("int_affected", "int_affected_subscribers"):
            if connection.execute("SELECT to_regclass(%s)", (f"{built}.{table}",)).fetchone() != (None,):
                _run(connection, statement(f"DELETE FROM {built}.{table}"))
    connection.execute(statement(f"UPDATE {built}._builds SET published_at = clock_timestamp() WHERE build_id = %s"), (build.build_id,))
    connection.execute(statement(f"DELETE FROM {built}._builds WHERE build_id <= %s"), (build.build_id - _KEPT_BUILDS,))
    at_write("cleared")
