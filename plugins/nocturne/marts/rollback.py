"""Station: the published marts -> what they were after an earlier publish; and holding publishing back until somebody releases it.

After a rollback the next night would publish the very thing that was undone. So a rollback holds publishing: nights go on to build, the
hold stands in their receipts, reports and alerts, and whoever has mended the cause releases it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal as OneOf

from nocturne.errors import PermanentError
from nocturne.ledger import Marks, utc_now
from nocturne.marts import builds, journal
from nocturne.marts.builds import Mart
from nocturne.marts.journal import Journal, Published, place
from nocturne.marts.publishing import Exchange, next_publish, note, run
from nocturne.postgres import SQL, Composable, Connection, Identifier, Literal, at_write, connect, exclusion, statement
from nocturne.reasons import checked_reason
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

Action = OneOf["roll back", "hold", "release"]


def steer_marts(
    tenant: Tenant,
    day: date,
    settings: Settings,
    ledger: Marks,
    *,
    action: Action = "roll back",
    publish_id: int | None = None,
    reason: str = "",
    asked: str,
    by: str,
) -> Receipt:
    """Roll the published marts back, hold publishing, or release it.

    roll back   makes the rows of `<slug>_marts` those that stood after `publish_id` (0: before the first; None: before the newest publish
                that changed anything and is not undone yet), records it as a publish of its own, which can be undone like any other,
                notes the dates in `_changed` and the keys in `_moved`, so that later builds and publishes look at them again, and holds
                publishing
    hold        lets no night publish until it is released
    release     lets the next night publish again

    All in one transaction. `asked` names the request: run again with the same one, it finds it answered and does nothing. Raises
    PermanentError without a reason, or if the journal does not reach so far, or a publish on the way changed a mart's columns.
    """
    started = utc_now()
    builds.prepare(tenant, settings)
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        journal.prepare(connection, tenant)
        if action == "release":
            entries = [Entry(name="publishing", skipped=not journal.release(connection, tenant, by=by), facts={"held": False})]
        else:
            why = checked_reason(reason, to=action, next_step="Say why: whoever finds publishing held reads it.", tenant=tenant.slug)
            rolled = [] if action == "hold" else list(_roll_back(connection, tenant, publish_id, why, asked))
            is_new = not _was_answered(rolled) and journal.hold(connection, tenant, by=by, reason=why)
            entries = [*rolled, Entry(name="publishing", skipped=not is_new, facts={"held": True})]
    at_write("committed the rollback")
    return Receipt(tenant=tenant.slug, day=day, station="steer_marts", started_at=started, finished_at=utc_now(), entries=tuple(entries))


def list_publishes(tenant: Tenant, settings: Settings) -> tuple[list[Published], journal.Hold | None]:
    """Every publish and rollback, the newest first, and what holds publishing back. Reads the journal; makes its tables if need be."""
    builds.prepare(tenant, settings)
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        journal.prepare(connection, tenant)
        return list(journal.publishes(connection, tenant)), journal.hold_in_force(connection, tenant)


def trim_journal(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Forget what undoes all but the last publishes (`journal.KEPT` of them). Run again, it finds nothing to do."""
    started = utc_now()
    builds.prepare(tenant, settings)
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        journal.prepare(connection, tenant)
        forgotten, rows = journal.trim(connection, tenant)
    at_write("committed the trim")
    entry = Entry(name="journal", skipped=not forgotten, counts={"forgotten": forgotten, "removed": rows})
    return Receipt(tenant=tenant.slug, day=day, station="trim_journal", started_at=started, finished_at=utc_now(), entries=(entry,))


def _was_answered(entries: Sequence[Entry]) -> bool:
    return any(entry.skipped for entry in entries if entry.name == "rollback")


def _roll_back(connection: Connection, tenant: Tenant, publish_id: int | None, reason: str, asked: str) -> Iterator[Entry]:
    query = SQL("SELECT publish_id FROM {} WHERE asked = %s").format(place(tenant, "_journal"))
    if answered := connection.execute(query, (asked,)).fetchone():
        yield Entry(name="rollback", skipped=True, facts={"publish_id": answered[0]})
        return
    history = list(journal.publishes(connection, tenant))
    target = _before_the_last(tenant, history) if publish_id is None else publish_id
    _refuse(tenant, history, target)
    run(connection, SQL("SET LOCAL lock_timeout = '60s'"))
    state = next((one for one in history if one.publish_id == target), None)
    stands_for = state.stands_for if state else target
    day = state.day if state else history[-1].day
    kept = Journal(connection, tenant, next_publish(connection, tenant))
    build_id = _build_of(connection, tenant, stands_for)
    kept.begin(day, kind="rollback", build_id=build_id, stands_for=stands_for, asked=asked, reason=reason)
    yield Entry(name="rollback", facts={"publish_id": kept.publish_id, "to": target})
    for mart in _marts(connection, tenant, target):
        deleted, inserted = _undo(Exchange(connection, tenant, mart, kept, is_whole=False), target)
        note(connection, tenant, kept.publish_id, day, mart.name, (inserted, deleted), "rollback")
        _touch(kept, mart)
        yield Entry(name=mart.name, counts={"inserted": inserted, "deleted": deleted}, facts={"publish_id": kept.publish_id})
    _set_back_builds(connection, tenant, build_id)


def _before_the_last(tenant: Tenant, history: Sequence[Published]) -> int:
    """The state before the newest publish that changed something and still stands: asked again and again, it goes back step by step."""
    stands_for = history[0].stands_for if history else 0
    standing = [one for one in history if one.kind == "publish" and one.publish_id <= stands_for]
    last = next((one for one in standing if one.inserted or one.deleted), None)
    if last is None:
        raise PermanentError("Nothing is published that could be undone.", next_step="Nothing.", tenant=tenant.slug)
    return next((one.publish_id for one in standing if one.publish_id < last.publish_id), 0)


def _refuse(tenant: Tenant, history: Sequence[Published], target: int) -> None:
    """Raise PermanentError if the journal cannot lead back to the state after `target`."""
    known = {one.publish_id for one in history}
    undone = [one for one in history if one.publish_id > target]
    if target not in known | {0} or not known:
        why = f"There is no publish {target}."
    elif lost := [one for one in undone if not one.is_kept]:
        why = f"The rows of publish {lost[0].publish_id} of {lost[0].published_at:%Y-%m-%d} are no longer kept."
    elif barriers := [one for one in undone if one.barrier]:
        why = f"Publish {barriers[0].publish_id} cannot be undone, because {barriers[0].barrier}."
    else:
        return
    reach = next((one.publish_id for one in history if not one.is_kept or one.barrier), 0)
    raise PermanentError(
        f"The published marts cannot be made what they were after publish {target}. {why}",
        next_step=f"Roll back to a publish from {reach} on (`nocturne publish list` shows them), or hold publishing, mend the cause and"
        " build.",
        tenant=tenant.slug,
    )


def _build_of(connection: Connection, tenant: Tenant, publish_id: int) -> int | None:
    query = SQL("SELECT build_id FROM {} WHERE publish_id = %s").format(place(tenant, "_journal"))
    row = connection.execute(query, (publish_id,)).fetchone()
    return None if row is None else row[0]


def _marts(connection: Connection, tenant: Tenant, target: int) -> list[Mart]:
    """The marts that changed since, with their dates' columns as the last complete build knew them."""
    names = [
        str(name)
        for (name,) in connection.execute(
            SQL("SELECT DISTINCT mart FROM {} WHERE publish_id > %s ORDER BY mart").format(place(tenant, "_journal_marts")), (target,)
        ).fetchall()
    ]
    row = connection.execute(
        SQL("SELECT marts FROM {} WHERE marts IS NOT NULL ORDER BY build_id DESC LIMIT 1").format(place(tenant, "_builds"))
    ).fetchone()
    days = {one["name"]: one["day"] for one in (row[0] if row else ())}
    return [Mart(name, _key(connection, tenant, name), days.get(name), "", {}) for name in names]


def _key(connection: Connection, tenant: Tenant, mart: str) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, place), pg_attribute a"
        " WHERE i.indrelid = to_regclass(%s) AND i.indisprimary AND a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place",
        (f"{tenant.marts_schema}.{mart}",),
    )
    return tuple(name for (name,) in rows.fetchall())


def _undo(exchange: Exchange, target: int) -> tuple[int, int]:
    """Bring one mart to its rows after `target`: (deleted, inserted).

    Of each key that was touched since, the first publish after `target` that touched it tells what stood before: the row that went then, or
    none. Where the mart was empty at some publish, what came later goes, whatever its key.
    """
    connection, tenant, mart = exchange.connection, exchange.tenant, exchange.mart
    row = connection.execute(
        SQL("SELECT min(publish_id) FROM {} WHERE mart = %s AND publish_id > %s AND was_empty").format(place(tenant, "_journal_marts")),
        (mart.name, target),
    ).fetchone()
    emptied = row[0] if row else None
    first, key = Identifier(f"{mart.name}__first"), SQL(", ").join(Identifier("r", column) for column in mart.key)
    until: Composable = SQL("") if emptied is None else SQL(" AND e.publish_id < {}").format(Literal(emptied))
    run(
        connection,
        SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT DISTINCT ON ({}) e.went AS stood, e.contents FROM {} AS e,"
            " jsonb_populate_record(NULL::{}, e.contents) AS r WHERE e.mart = {} AND e.publish_id > {}{}"
            " ORDER BY {}, e.publish_id, e.went DESC"
        ).format(
            first, key, place(tenant, "_journal_rows"), exchange.published, Literal(mart.name), Literal(target), until, key
        ),
    )  # fmt: skip
    of_first = SQL("{} AS f, jsonb_populate_record(NULL::{}, f.contents) AS r").format(first, exchange.published)
    wanted = SQL("SELECT {} FROM {} WHERE f.stood").format(exchange.columns_of("r"), of_first)
    standing: Composable = SQL("SELECT {} FROM {} AS p").format(exchange.columns_of("p"), exchange.published)
    if emptied is None:
        mine = SQL(", ").join(Identifier("p", column) for column in mart.key)
        standing = SQL("{} WHERE ({}) IN (SELECT {} FROM {})").format(standing, mine, key, of_first)
    return exchange.exchange_rows(wanted, standing)


def _touch(kept: Journal, mart: Mart) -> None:
    """Note the dates and the keys of the rows that this rollback moved: there the build now differs from what is published."""
    if mart.day is not None:
        key = SQL(", ").join(SQL("{0}, contents -> {0}").format(Literal(column)) for column in mart.key)
        run(
            kept.connection,
            SQL("INSERT INTO {} (model, key) SELECT mart, jsonb_build_object({}) FROM {} WHERE publish_id = {} AND mart = {}").format(
                place(kept.tenant, "_moved"), key, place(kept.tenant, "_journal_rows"), Literal(kept.publish_id), Literal(mart.name)
            ),
        )
        run(
            kept.connection,
            SQL(
                "INSERT INTO {} (model, changed_on) SELECT DISTINCT mart, (contents ->> {})::date FROM {} WHERE publish_id = {}"
                " AND mart = {} AND contents ->> {} IS NOT NULL ON CONFLICT DO NOTHING"
            ).format(
                place(kept.tenant, "_changed"), Literal(mart.day), place(kept.tenant, "_journal_rows"), Literal(kept.publish_id),
                Literal(mart.name), Literal(mart.day),
            ),
        )  # fmt: skip


def _set_back_builds(connection: Connection, tenant: Tenant, build_id: int | None) -> None:
    """Let the builds say what is published now: the one whose rows stand, and none after it."""
    run(
        connection,
        SQL("UPDATE {0} SET published_at = CASE WHEN build_id = {1} THEN clock_timestamp() END WHERE build_id >= coalesce({1}, 0)").format(
            place(tenant, "_builds"), SQL("{}::bigint").format(Literal(build_id))
        ),
    )
