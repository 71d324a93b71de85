"""The publish journal: what each publish took out of the published marts, so that it can be undone; and whether publishing is held.

<slug>_build._journal         (publish_id): what it was, of which day and build, and which publish's state it made (`stands_for`)
<slug>_build._journal_marts   (publish_id, mart): of a mart that changed, whether it was empty before, or why it cannot be undone
<slug>_build._journal_rows    the rows that went, whole, and of the rows that came their key and date
<slug>_build._holds           who held publishing back and why, and who released it

It stands beside the builds, where the tenant's readers may not look. Its size follows the rows that change: a mart that was empty is
undone by emptying it, and needs no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal as OneOf

from nocturne.marts.builds import Mart
from nocturne.postgres import SQL, Composable, Connection, Identifier, Literal, at_write, statement
from nocturne.tenants import Tenant

Kind = OneOf["publish", "rollback"]
KEPT = 30
"""Publishes whose rows are kept."""


@dataclass(frozen=True)
class Hold:
    """Publishing is held back: since when, by whom and why."""

    held_at: datetime
    held_by: str
    reason: str

    @property
    def told(self) -> str:
        """What a night that may not publish says."""
        return (
            f"Publishing is held since {self.held_at:%Y-%m-%d %H:%M} UTC by {self.held_by}: {self.reason.rstrip('.')}. The published"
            " marts stand as they were then; builds go on and wait."
            " Release it with `nocturne publish release`, or trigger the rollback DAG with `release`."
        )


@dataclass(frozen=True)
class Published:
    """One publish or rollback, for people."""

    publish_id: int
    kind: str
    day: date
    published_at: datetime
    stands_for: int
    inserted: int
    deleted: int
    is_kept: bool
    barrier: str | None
    reason: str | None


@dataclass(frozen=True)
class Journal:
    """The journal of one publish, inside its transaction."""

    connection: Connection
    tenant: Tenant
    publish_id: int

    def begin(self, day: date, *, kind: Kind, build_id: int | None, stands_for: int, asked: str | None, reason: str | None) -> None:
        """Note what this publish is. `asked` is the question that it answers: asked again, it is not answered twice."""
        self.connection.execute(
            SQL("INSERT INTO {} VALUES (%s, %s, %s, now(), %s, %s, true, %s, %s)").format(place(self.tenant, "_journal")),
            (self.publish_id, kind, day, build_id, stands_for, asked, reason),
        )
        at_write("began the journal")

    def keep_gone(self, mart: Mart, went: Identifier) -> None:
        """Keep the rows that this publish takes out of a mart."""
        self._note(mart.name, was_empty=False)
        self.connection.execute(
            SQL("INSERT INTO {} SELECT {}, {}, true, to_jsonb(went) FROM {} AS went").format(*self._rows_of(mart), went)
        )
        at_write(f"kept what went of {mart.name}")

    def keeping_came(self, mart: Mart, insert: Composable) -> Composable:
        """The statement `insert`, which puts rows into a mart, and beside it keeps what tells them: their keys and dates."""
        told = SQL(", ").join(map(Identifier, dict.fromkeys((*mart.key, *([mart.day] if mart.day else ())))))
        return SQL("WITH came AS ({} RETURNING {}) INSERT INTO {} SELECT {}, {}, false, to_jsonb(came) FROM came").format(
            insert, told, *self._rows_of(mart)
        )

    def note_changed(self, mart: Mart) -> None:
        """Note that rows came into a mart or went out of it."""
        self._note(mart.name, was_empty=False)

    def note_empty(self, mart: Mart) -> None:
        """Note that a mart had no rows before this publish."""
        self._note(mart.name, was_empty=True)

    def note_barrier(self, mart: str, why: str) -> None:
        """Note why what this publish does to a mart cannot be undone."""
        self._note(mart, was_empty=False, barrier=why)

    def _note(self, mart: str, *, was_empty: bool, barrier: str | None = None) -> None:
        self.connection.execute(
            SQL("INSERT INTO {} VALUES (%s, %s, %s, %s) ON CONFLICT (publish_id, mart) DO NOTHING").format(
                place(self.tenant, "_journal_marts")
            ),
            (self.publish_id, mart, was_empty, barrier),
        )
        at_write(f"noted in the journal {mart}")

    def _rows_of(self, mart: Mart) -> tuple[Composable | Identifier, Composable | Literal, Composable | Literal]:
        return place(self.tenant, "_journal_rows"), Literal(self.publish_id), Literal(mart.name)


def place(tenant: Tenant, name: str) -> Identifier:
    """A table of the journal."""
    return Identifier(tenant.build_schema, name)


def prepare(connection: Connection, tenant: Tenant) -> None:
    """Make the journal's tables. Run again, it changes nothing."""
    built = tenant.build_schema
    if connection.execute("SELECT to_regclass(%s)", (f"{built}._holds",)).fetchone() != (None,):
        return
    for text in (
        f"CREATE TABLE {built}._journal (publish_id bigint PRIMARY KEY, kind text NOT NULL, day date NOT NULL,"
        " published_at timestamptz NOT NULL, build_id bigint, stands_for bigint NOT NULL, is_kept boolean NOT NULL, asked text UNIQUE,"
        " reason text)",
        f"CREATE TABLE {built}._journal_marts (publish_id bigint NOT NULL, mart text NOT NULL, was_empty boolean NOT NULL, barrier text,"
        " PRIMARY KEY (publish_id, mart))",
        f"CREATE TABLE {built}._journal_rows (publish_id bigint NOT NULL, mart text NOT NULL, went boolean NOT NULL,"
        " contents jsonb NOT NULL)",
        f"CREATE INDEX ON {built}._journal_rows (mart, publish_id)",
        f"CREATE TABLE {built}._holds (hold_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, held_at timestamptz NOT NULL DEFAULT now(),"
        " held_by text NOT NULL, reason text NOT NULL, released_at timestamptz, released_by text)",
    ):
        connection.execute(statement(text))
        at_write("made the journal")


def hold_in_force(connection: Connection, tenant: Tenant) -> Hold | None:
    """What holds publishing back, or None."""
    row = connection.execute(
        SQL("SELECT held_at AT TIME ZONE 'UTC', held_by, reason FROM {} WHERE released_at IS NULL ORDER BY hold_id LIMIT 1").format(
            place(tenant, "_holds")
        )
    ).fetchone()
    return None if row is None else Hold(*row)


def hold(connection: Connection, tenant: Tenant, *, by: str, reason: str) -> bool:
    """Hold publishing back until somebody releases it; False if it was held before, which then stands."""
    if hold_in_force(connection, tenant):
        return False
    connection.execute(SQL("INSERT INTO {} (held_by, reason) VALUES (%s, %s)").format(place(tenant, "_holds")), (by, reason))
    at_write("held publishing")
    return True


def release(connection: Connection, tenant: Tenant, *, by: str) -> bool:
    """Let the next night publish; False if nothing held it."""
    count = connection.execute(
        SQL("UPDATE {} SET released_at = now(), released_by = %s WHERE released_at IS NULL").format(place(tenant, "_holds")), (by,)
    ).rowcount
    at_write("released publishing")
    return count > 0


def publishes(connection: Connection, tenant: Tenant) -> Iterator[Published]:
    """Every publish and rollback, the newest first; also those from before there was a journal."""
    if connection.execute("SELECT to_regclass(%s)", (f"{tenant.marts_schema}._publishes",)).fetchone() == (None,):
        return
    rows = connection.execute(
        SQL(
            "SELECT told.publish_id, coalesce(kept.kind, 'publish'), coalesce(kept.day, told.day), told.published_at,"
            " coalesce(kept.stands_for, told.publish_id), told.inserted, told.deleted, coalesce(kept.is_kept, false),"
            " (SELECT string_agg(mart || ': ' || barrier, '; ' ORDER BY mart) FROM {} AS marts WHERE marts.publish_id = told.publish_id),"
            " kept.reason FROM (SELECT publish_id, max(day) AS day, max(published_at) AS published_at, sum(inserted)::bigint AS inserted,"
            " sum(deleted)::bigint AS deleted FROM {} GROUP BY publish_id) AS told LEFT JOIN {} AS kept USING (publish_id)"
            " ORDER BY told.publish_id DESC"
        ).format(place(tenant, "_journal_marts"), Identifier(tenant.marts_schema, "_publishes"), place(tenant, "_journal"))
    )
    for row in rows.fetchall():
        yield Published(*row)


def trim(connection: Connection, tenant: Tenant, kept: int = KEPT) -> tuple[int, int]:
    """Forget the rows of all but the last `kept` publishes: (publishes forgotten, rows removed). Run again, it finds nothing."""
    old = connection.execute(
        SQL("UPDATE {0} SET is_kept = false WHERE is_kept AND publish_id <= (SELECT max(publish_id) FROM {0}) - %s").format(
            place(tenant, "_journal")
        ),
        (kept,),
    ).rowcount
    at_write("forgot old publishes")
    gone = connection.execute(
        SQL("DELETE FROM {} WHERE publish_id IN (SELECT publish_id FROM {} WHERE NOT is_kept)").format(
            place(tenant, "_journal_rows"), place(tenant, "_journal")
        )
    ).rowcount
    at_write("removed old rows of the journal")
    return old, gone
