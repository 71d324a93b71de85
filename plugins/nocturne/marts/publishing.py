"""Station: built marts -> published marts. Whoever reads them sees all of the old ones or all of the new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from nocturne.errors import BuildFailed
from nocturne.ledger import Marks, utc_now
from nocturne.marts import builds, journal
from nocturne.marts.builds import Build, Mart
from nocturne.marts.journal import Journal, Kind
from nocturne.postgres import SQL, Composable, Connection, Identifier, Literal, at_write, connect, exclusion, statement
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_KEPT_BUILDS = 400
_MANY = 20_000
"""Rows after which the planner is told at once of what was published."""


def publish_marts(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Make the published marts equal to the built ones, in one transaction.

    Reads `<slug>_build`: of marts by date the keys that `_moved` names, of the others, and after a whole build of all, every row.
    Writes the rows of `<slug>_marts` that differ, `_publishes`, the journal that undoes it, of marts that close `<slug>_build._closed`, and
    clears what the build has worked in from the `_touched` tables. While publishing is held (after a rollback) it writes nothing, and says
    so in a warning. A re-run finds the build published and does nothing. Raises BuildFailed if the last build is not complete,
    DatabaseUnavailable.
    """
    started = utc_now()
    warnings: tuple[str, ...] = ()
    builds.prepare(tenant, settings)
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        journal.prepare(connection, tenant)
        build = builds.last_build(connection, tenant)
        if build is None or not build.is_finished:
            raise BuildFailed(
                "There is no complete build to publish.",
                next_step="Clear build_marts: it builds what is left.",
                tenant=tenant.slug,
                day=day,
            )
        held = journal.hold_in_force(connection, tenant)
        if held:
            entries, warnings = [Entry(name="publish", skipped=True, facts={"held": True})], (held.told,)
        elif build.is_published:
            entries = [Entry(name="publish", skipped=True)]
        else:
            entries = list(_publish(connection, tenant, build, day))
    at_write("committed the publish")
    return Receipt(
        tenant=tenant.slug,
        day=day,
        station="publish_marts",
        started_at=started,
        finished_at=utc_now(),
        entries=tuple(entries),
        warnings=warnings,
    )


def _publish(connection: Connection, tenant: Tenant, build: Build, day: date) -> Iterator[Entry]:
    # A reader of hours must not hold up the night for ever: the task is tried again.
    run(connection, SQL("SET LOCAL lock_timeout = '60s'"))
    # a mart is copied from its beginning, not from where another scan of it stands: its days follow each other, and the planner knows it
    run(connection, SQL("SET LOCAL synchronize_seqscans = off"))
    publish_id = next_publish(connection, tenant)
    kept = Journal(connection, tenant, publish_id)
    kept.begin(day, kind="publish", build_id=build.build_id, stands_for=publish_id, asked=None, reason=None)
    for mart in build.marts:
        exchange = Exchange(connection, tenant, mart, kept, is_whole=build.is_full)
        changed_on = exchange.changed_dates()
        is_reshaped = exchange.shape_table(describe=build.is_full)
        deleted, inserted = exchange.take_build(is_kept=not is_reshaped)
        if mart.closes:
            exchange.close_rows()
        note(connection, tenant, publish_id, day, mart.name, (inserted, deleted))
        counts = {"inserted": inserted, "deleted": deleted}
        yield Entry(name=mart.name, counts=counts, event_dates=changed_on, facts={"publish_id": publish_id})
    for name, count in _drop_others(connection, tenant, build.marts):
        kept.note_barrier(name, "the mart was removed")
        note(connection, tenant, publish_id, day, name, (0, count))
        yield Entry(name=name, counts={"inserted": 0, "deleted": count}, facts={"publish_id": publish_id, "dropped": True})
    _clear(connection, tenant, build)


@dataclass(frozen=True)
class Exchange:
    """Bringing one published mart to the built one, or back to what it was."""

    connection: Connection
    tenant: Tenant
    mart: Mart
    journal: Journal
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

    def shape_table(self, *, describe: bool) -> bool:
        """Give the published table the built one's columns, key and indexes; with `describe`, also what its columns mean.

        True if columns that stood there changed: rows of the old shape are not kept, so the journal notes that this is not undone.
        """
        wanted, there = self._columns(self.tenant.build_schema), self._columns(self.tenant.marts_schema)
        if not there:
            self._create()
            describe = True
        changes = list(self._column_changes(wanted, there)) if there else []
        for change in changes:
            run(self.connection, change)
        if changes:
            self.journal.note_barrier(self.mart.name, _told_changes(wanted, there))
        if describe:
            for comment in self._comments(wanted):
                run(self.connection, comment)
        return bool(changes)

    def take_build(self, *, is_kept: bool = True) -> tuple[int, int]:
        """Bring the rows to the built ones: (deleted, inserted). With `is_kept`, the journal keeps what undoes it."""
        columns = self.columns
        if self.is_empty():
            self.journal.note_empty(self.mart)
            inserted = run(self.connection, SQL("INSERT INTO {0} ({1}) SELECT {1} FROM {2}").format(self.published, columns, self.built))
            self._index()
            self._tell_planner(inserted)
            return 0, inserted
        built, standing = (SQL("SELECT {} FROM {}").format(columns, table) for table in (self.built, self.published))
        if self.is_whole or self.mart.day is None:
            return self.exchange_rows(built, standing, is_kept=is_kept)
        if not self._find_moved():
            return 0, 0
        key = SQL(", ").join(map(Identifier, self.mart.key))
        moved = SQL("WHERE ({0}) IN (SELECT {0} FROM {1})").format(key, self._moved)
        return self.exchange_rows(SQL("{} {}").format(built, moved), SQL("{} {}").format(standing, moved), is_kept=is_kept)

    def _find_moved(self) -> int:
        """Gather the keys of the rows that builds have changed since marts were published; how many there are."""
        count = run(
            self.connection,
            SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT DISTINCT {} FROM {} AS moved,"
                " jsonb_populate_record(NULL::{}, moved.key) AS r WHERE moved.model = {}"
            ).format(
                self._moved,
                SQL(", ").join(Identifier("r", column) for column in self.mart.key),
                Identifier(self.tenant.build_schema, "_moved"),
                self.built,
                Literal(self.mart.name),
            ),
        )
        if count:
            run(self.connection, SQL("ANALYZE {}").format(self._moved))
        return count

    def exchange_rows(self, wanted: Composable, standing: Composable, *, is_kept: bool = True) -> tuple[int, int]:
        """Delete the rows of `standing` that are not among the `wanted`, insert those that are new: (deleted, inserted).

        Both are queries, `standing` one of rows of the published mart. Rows that are alike are left alone.
        """
        went = Identifier(f"{self.mart.name}__went")
        same_key = SQL(" AND ").join(SQL("standing.{0} = went.{0}").format(Identifier(column)) for column in self.mart.key)
        deleted = run(self.connection, SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {} EXCEPT {}").format(went, standing, wanted))
        if deleted:
            if is_kept:
                self.journal.keep_gone(self.mart, went)
            run(self.connection, SQL("DELETE FROM {} AS standing USING {} AS went WHERE {}").format(self.published, went, same_key))
        # whoever reads a day reads its pages alone, also of a mart that came anew; the difference of two queries has an order of its own
        by_day = SQL(" ORDER BY {}").format(Identifier(self.mart.day)) if self.mart.day else SQL("")
        insert: Composable = SQL("INSERT INTO {} ({}) {} EXCEPT {}{}").format(self.published, self.columns, wanted, standing, by_day)
        inserted = run(self.connection, self.journal.keeping_came(self.mart, insert) if is_kept else insert)
        if inserted and is_kept:
            self.journal.note_changed(self.mart)
        self._tell_planner(inserted)
        return deleted, inserted

    def is_empty(self) -> bool:
        """Whether the published mart has no rows."""
        return self.connection.execute(SQL("SELECT FROM {} LIMIT 1").format(self.published)).fetchone() is None

    @property
    def columns(self) -> Composable:
        """The published mart's columns, for a statement."""
        return SQL(", ").join(map(Identifier, self._columns(self.tenant.marts_schema)))

    def columns_of(self, alias: str) -> Composable:
        """The same, of a relation that goes by `alias`."""
        return SQL(", ").join(Identifier(alias, name) for name in self._columns(self.tenant.marts_schema))

    def _tell_planner(self, inserted: int) -> None:
        if inserted > _MANY:
            run(self.connection, SQL("ANALYZE {}").format(self.published))

    def close_rows(self) -> None:
        """Keep the rows of the days that are published for the first time: `_closed` is what later builds say of them, for ever.

        A rollback of the publish leaves them: what was issued stays issued.
        """
        assert self.mart.day is not None  # noqa: S101 (a mart closes by its day)
        closed, day, mart = Identifier(self.tenant.build_schema, "_closed"), Identifier(self.mart.day), Literal(self.mart.name)
        changed = SQL("SELECT changed_on FROM {} WHERE model = {}").format(self._log, mart)
        run(
            self.connection,
            SQL(
                "INSERT INTO {closed} (mart, closed_on, closed_row) SELECT {mart}, built.{day}, to_jsonb(built)"
                " FROM {built} AS built"
                " WHERE ({is_whole} OR built.{day} IN ({changed}))"
                " AND built.{day} NOT IN (SELECT closed_on FROM {closed} WHERE mart = {mart})"
            ).format(closed=closed, mart=mart, day=day, built=self.built, is_whole=Literal(self.is_whole), changed=changed),
        )

    @property
    def _log(self) -> Identifier:
        return Identifier(self.tenant.build_schema, "_changed")

    @property
    def _moved(self) -> Identifier:
        return Identifier(f"{self.mart.name}__moved")

    def _columns(self, schema: str) -> dict[str, str]:
        rows = self.connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            " AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (f"{schema}.{self.mart.name}",),
        )
        return {str(name): str(kind) for name, kind in rows}

    def _create(self) -> None:
        run(self.connection, SQL("CREATE TABLE {} (LIKE {})").format(self.published, self.built))
        run(self.connection, SQL("GRANT SELECT ON {} TO {}").format(self.published, Identifier(self.tenant.reader_role)))

    def _index(self) -> None:
        """Give a table that has none its key and indexes: of rows that are there they are made by sorting, several times as fast."""
        has_any = "SELECT 1 FROM pg_index WHERE indrelid = to_regclass(%s)"
        if self.connection.execute(has_any, (f"{self.tenant.marts_schema}.{self.mart.name}",)).fetchone():
            return
        key = SQL(", ").join(map(Identifier, self.mart.key))
        run(self.connection, SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(self.published, key))
        others = self.connection.execute(
            "SELECT array(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place)"
            " FROM pg_index i WHERE i.indrelid = to_regclass(%s) AND NOT i.indisunique ORDER BY i.indexrelid",
            (f"{self.tenant.build_schema}.{self.mart.name}",),
        ).fetchall()
        for (columns,) in others:
            run(self.connection, SQL("CREATE INDEX ON {} ({})").format(self.published, SQL(", ").join(map(Identifier, columns))))

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


def _told_changes(wanted: dict[str, str], there: dict[str, str]) -> str:
    came, went = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & there.keys() if wanted[name] != there[name])
    parts = (("came", came), ("went", went), ("have another type", other))
    return "; ".join(f"the columns {', '.join(names)} {what}" for what, names in parts if names)


def run(connection: Connection, text: Composable) -> int:
    """Run one statement of a publish; the number of rows that it wrote."""
    count: int = connection.execute(text).rowcount
    at_write("publish")
    return count


def next_publish(connection: Connection, tenant: Tenant) -> int:
    """The number of the publish that now begins; makes the table that tells readers of publishes."""
    told = Identifier(tenant.marts_schema, "_publishes")
    if connection.execute("SELECT to_regclass(%s)", (f"{tenant.marts_schema}._publishes",)).fetchone() == (None,):
        run(
            connection,
            SQL(
                "CREATE TABLE {} (publish_id bigint NOT NULL, day date NOT NULL, published_at timestamptz NOT NULL, mart text NOT NULL,"
                " inserted bigint NOT NULL, deleted bigint NOT NULL, kind text NOT NULL, PRIMARY KEY (publish_id, mart))"
            ).format(told),
        )
        run(connection, SQL("COMMENT ON TABLE {} IS {}").format(told, Literal("What each publish changed. One row a publish and mart.")))
        run(connection, SQL("GRANT SELECT ON {} TO {}").format(told, Identifier(tenant.reader_role)))
    elif not _has_kinds(connection, tenant):
        run(connection, SQL("ALTER TABLE {} ADD COLUMN kind text NOT NULL DEFAULT 'publish'").format(told))
    row = connection.execute(SQL("SELECT coalesce(max(publish_id), 0) + 1 FROM {}").format(told)).fetchone()
    return int(row[0]) if row else 1


def _has_kinds(connection: Connection, tenant: Tenant) -> bool:
    """Whether the table tells publishes from rollbacks; asked first, since to alter it would make its readers wait."""
    query = "SELECT 1 FROM information_schema.columns WHERE (table_schema, table_name, column_name) = (%s, '_publishes', 'kind')"
    return connection.execute(query, (tenant.marts_schema,)).fetchone() is not None


def note(
    connection: Connection, tenant: Tenant, publish_id: int, day: date, mart: str, counts: tuple[int, int], kind: Kind = "publish"
) -> None:
    """Tell readers what this publish did to a mart: `counts` are the rows (inserted, deleted)."""
    connection.execute(
        SQL("INSERT INTO {} (publish_id, day, published_at, mart, inserted, deleted, kind) VALUES (%s, %s, now(), %s, %s, %s, %s)").format(
            Identifier(tenant.marts_schema, "_publishes")
        ),
        (publish_id, day, mart, *counts, kind),
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
        run(connection, SQL("DROP TABLE {}").format(table))
        dropped.append((str(name), int(count[0]) if count else 0))
    return dropped


def _clear(connection: Connection, tenant: Tenant, build: Build) -> None:
    """Forget what this build has worked in; what was loaded after it began stays for the next one."""
    raw, built = tenant.raw_schema, tenant.build_schema
    for table in builds.TOUCHED:
        connection.execute(statement(f"DELETE FROM {raw}.{table} WHERE touched_at <= %s"), (build.started_at,))
    for log in ("_changed", "_moved"):
        run(connection, statement(f"DELETE FROM {built}.{log}"))
    if not builds.is_touched_since(connection, tenant, build.started_at):
        for table in ("int_affected", "int_affected_subscribers"):
            if connection.execute("SELECT to_regclass(%s)", (f"{built}.{table}",)).fetchone() != (None,):
                run(connection, statement(f"DELETE FROM {built}.{table}"))
    connection.execute(statement(f"UPDATE {built}._builds SET published_at = clock_timestamp() WHERE build_id = %s"), (build.build_id,))
    connection.execute(statement(f"DELETE FROM {built}._builds WHERE build_id <= %s"), (build.build_id - _KEPT_BUILDS,))
    at_write("cleared")
