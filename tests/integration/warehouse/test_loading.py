"""From silver in the lake to PostgreSQL: what differs is loaded, what changed by it is written down, and a kill leaves nothing half done."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from nocturne import lake, postgres
from nocturne.errors import DatabaseUnavailable
from nocturne.installation.database import EmbeddedDatabase
from nocturne.ledger import Ledger, Mark
from nocturne.postgres import connect, fetch, statement
from nocturne.quality import Judgement, Result
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from nocturne.warehouse import load_warehouse
from tests.integration.marts.world import arrow, make_tenant
from tests.killing import Killer

TODAY = date(2026, 1, 9)
SOME = ("plays", "payments", "tracks")
RAW = ("plays", "payments", "tracks", "rules", "tenant", "time_zones", "silver_rows", "reconciliation", "_loaded")
_NUMBERS = itertools.count(1)


def play(name: str, on: str, listener: str = "l1", length: int = 40_000) -> dict[str, Any]:
    day = date.fromisoformat(on)
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    own = {"play_id": name, "listener_key": listener, "track_id": "t1", "played_at": at, "played_on": day}
    return own | {"ms_played": length, "received_on": day}


@dataclass
class Silver:
    """Silver of one tenant, and the load of it."""

    tenant: Tenant
    settings: Settings
    ledger: Ledger

    def write(self, dataset: str, rows: Iterable[dict[str, Any]], parts: Iterable[str] = (), *, mark: str = "") -> None:
        """Make `rows` all that these event dates hold (the whole dataset, of a reference dataset), with their marks."""
        parts, table = list(parts), arrow(dataset, list(rows)).read_all()
        with lake.duck(self.settings) as connection:
            connection.register("rows", table)
            lake.table(self.settings, self.tenant, "silver", dataset).replace(connection, "SELECT * FROM rows", parts)
        date_column = "played_on" if dataset == "plays" else "paid_on"
        on = [str(row[date_column]) for row in table.to_pylist()] if parts else ["all"] * len(table)
        content = hashlib.sha256(str(table.to_pylist()).encode()).hexdigest()
        marks = {part: Mark(mark or content, {"rows": on.count(part), "duplicates": 1}) for part in parts or ["all"]}
        self.ledger.mark(self.tenant, "silver", dataset, marks)

    def load(self, day: date = TODAY) -> Receipt:
        """Run the station."""
        return load_warehouse(self.tenant, day, self.settings, self.ledger)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query; {raw} is the warehouse's schema."""
        return [tuple(row.values()) for row in fetch(self.settings, query.format(raw=self.tenant.raw_schema), role=self.tenant.owner_role)]

    def touched(self) -> set[tuple[Any, ...]]:
        """What must be looked at again."""
        return set(self.rows("SELECT dataset, event_on FROM {raw}._touched"))

    def publish(self) -> None:
        """As if the marts had been published."""
        with connect(self.settings, role=self.tenant.owner_role) as connection:
            for table in ("_touched", "_touched_listeners", "_touched_rows"):
                connection.execute(statement(f"DELETE FROM {self.tenant.raw_schema}.{table}"))

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """All tables and what is touched, without the instants of loading."""
        found = {name: self.rows(f"SELECT to_jsonb(t)::text FROM {{raw}}.{name} AS t ORDER BY 1") for name in RAW}
        for name in ("_touched", "_touched_listeners", "_touched_rows"):
            found[name] = self.rows(f"SELECT (to_jsonb(t) - 'touched_at')::text FROM {{raw}}.{name} AS t ORDER BY 1")
        return found


@pytest.fixture
def silver(database: Settings, ledger: Ledger, provisioned: Callable[[Tenant], Tenant]) -> Silver:
    made = Silver(provisioned(make_tenant(f"loading{next(_NUMBERS)}", SOME)), database, ledger)
    made.write("plays", [play("p1", "2026-01-01"), play("p2", "2026-01-02"), play("p3", "2026-01-02", "l2")], ["2026-01-01", "2026-01-02"])
    made.write("tracks", [{"track_id": "t1", "title": "One", "received_on": date(2026, 1, 1)}])
    return made


def test_everything_is_loaded_once(silver: Silver) -> None:
    first = silver.load()
    assert (first.count("loaded"), first.entry("payments").skipped) == (4, True)  # type: ignore[union-attr]
    assert silver.rows("SELECT play_id, played_on, ms_played FROM {raw}.plays ORDER BY 1") == [
        ("p1", date(2026, 1, 1), 40_000),
        ("p2", date(2026, 1, 2), 40_000),
        ("p3", date(2026, 1, 2), 40_000),
    ]
    assert silver.rows("SELECT event_on, rows, duplicates FROM {raw}.silver_rows WHERE dataset = 'plays' ORDER BY 1") == [
        (date(2026, 1, 1), 1, 1),
        (date(2026, 1, 2), 2, 1),
    ]
    stands = silver.contents()
    second = silver.load()
    assert all(entry.skipped for entry in second.entries)
    assert silver.contents() == stands


def test_a_changed_date_is_replaced_and_only_it_and_its_changed_listeners_are_touched(silver: Silver) -> None:
    silver.load()
    silver.publish()
    silver.write(
        "plays", [play("p2", "2026-01-02"), play("p3", "2026-01-02", "l2", 50_000), play("p4", "2026-01-02", "l3")], ["2026-01-02"]
    )
    receipt = silver.load()
    assert receipt.entry("plays").event_dates == (date(2026, 1, 2),)  # type: ignore[union-attr]
    assert silver.touched() == {("plays", date(2026, 1, 2))}
    assert silver.rows("SELECT listener_key FROM {raw}._touched_listeners ORDER BY 1") == [("l2",), ("l3",)]
    assert silver.rows("SELECT count(*) FROM {raw}.plays") == [(4,)]


def test_of_a_date_that_stands_only_the_rows_that_differ_are_written(silver: Silver) -> None:
    day = "2026-01-02"
    rows = [play(f"p{number}", day, f"l{number}") for number in range(50)]
    silver.write("plays", rows, [day])
    silver.load()
    silver.publish()
    place = "SELECT play_id, ctid::text AS place, xmin::text AS written_by FROM {raw}.plays WHERE play_id IN ('p3', 'p4') ORDER BY 1"
    stood = silver.rows(place)
    silver.write("plays", [*rows[1:3], play("p3", day, "l3"), play("p4", day, "l4", 41_000), *rows[5:], play("new", day, "l99")], [day])
    assert silver.load().entry("plays").counts["loaded"] == 2  # type: ignore[union-attr]
    stands = silver.rows(place)
    assert stands[0] == stood[0]
    assert stands[1] != stood[1]
    assert silver.rows("SELECT listener_key FROM {raw}._touched_listeners ORDER BY 1") == [("l0",), ("l4",), ("l99",)]
    assert silver.rows("SELECT count(*), sum(ms_played)::bigint FROM {raw}.plays WHERE played_on = '2026-01-02'") == [
        (50, 50 * 40_000 + 1_000)
    ]


def test_a_date_whose_data_files_of_then_are_gone_is_replaced_whole(silver: Silver) -> None:
    silver.load()
    silver.publish()
    table = lake.table(silver.settings, silver.tenant, "silver", "plays")
    silver.write("plays", [play("p1", "2026-01-01", length=7)], ["2026-01-01"])
    table.vacuum(hours=0)
    assert silver.load().count("loaded") == 1
    assert silver.rows("SELECT ms_played FROM {raw}.plays WHERE play_id = 'p1'") == [(7,)]
    assert silver.touched() == {("plays", date(2026, 1, 1))}


def test_a_date_that_somebody_else_has_changed_is_replaced_whole(silver: Silver) -> None:
    silver.load()
    silver.publish()
    with connect(silver.settings, role=silver.tenant.owner_role) as connection:
        connection.execute(statement(f"DELETE FROM {silver.tenant.raw_schema}.plays WHERE play_id = 'p2'"))
    silver.write("plays", [play("p2", "2026-01-02", length=9), play("p3", "2026-01-02", "l2")], ["2026-01-02"])
    silver.load()
    assert silver.rows("SELECT play_id, ms_played FROM {raw}.plays WHERE played_on = '2026-01-02' ORDER BY 1") == [
        ("p2", 9),
        ("p3", 40_000),
    ]
    assert silver.rows("SELECT listener_key FROM {raw}._touched_listeners") == [("l1",)]


def test_a_listener_whose_row_went_is_touched(silver: Silver) -> None:
    silver.load()
    silver.publish()
    silver.write("plays", [play("p2", "2026-01-02")], ["2026-01-02"])
    silver.load()
    assert silver.rows("SELECT listener_key, event_on FROM {raw}._touched_listeners") == [("l2", date(2026, 1, 2))]


def test_a_date_that_was_rebuilt_to_the_same_rows_touches_nothing(silver: Silver) -> None:
    silver.load()
    silver.publish()
    silver.write("plays", [play("p1", "2026-01-01")], ["2026-01-01"], mark="another version of silver's code")
    entry = silver.load().entry("plays")
    assert entry is not None
    assert (entry.skipped, entry.counts["loaded"], entry.counts["parts"]) == (False, 0, 1)
    assert silver.touched() == set()


def test_a_date_that_silver_no_longer_has_goes(silver: Silver) -> None:
    silver.load()
    silver.publish()
    lake.table(silver.settings, silver.tenant, "silver", "plays").delete(["2026-01-01"])
    silver.ledger.unmark(silver.tenant, "silver", "plays", ["2026-01-01"])
    silver.load()
    assert silver.rows("SELECT play_id FROM {raw}.plays ORDER BY 1") == [("p2",), ("p3",)]
    assert silver.touched() == {("plays", date(2026, 1, 1))}
    assert silver.rows("SELECT count(*) FROM {raw}.silver_rows WHERE dataset = 'plays'") == [(1,)]


def test_reference_rows_are_told_as_they_were_and_as_they_are(silver: Silver) -> None:
    silver.load()
    silver.publish()
    both = [{"track_id": track, "title": title, "received_on": date(2026, 1, 1)} for track, title in (("t1", "One, again"), ("t2", "Two"))]
    silver.write("tracks", both)
    silver.load()
    assert silver.touched() == {("tracks", None)}
    changed = silver.rows("SELECT row ->> 'track_id' AS track_id, row ->> 'title' AS title FROM {raw}._touched_rows ORDER BY 1, 2")
    assert changed == [("t1", "One"), ("t1", "One, again"), ("t2", "Two")]


def test_types_survive_the_way(silver: Silver) -> None:
    row = {"payment_id": "x", "listener_key": "l1", "status": "succeeded", "currency": "EUR", "method": "Übertrag", "tax_amount": None}
    row |= {"paid_at": datetime(2026, 1, 2, 23, 59, 59, 123456, UTC), "paid_on": date(2026, 1, 3), "amount": "12345678901.123456"}
    silver.write("payments", [row | {"received_on": date(2026, 1, 3)}], ["2026-01-03"])
    silver.load()
    (found,) = silver.rows("SELECT amount::text, paid_at, tax_amount, method FROM {raw}.payments")
    assert found == ("12345678901.123456", row["paid_at"], None, "Übertrag")


def test_a_rule_touches_the_dates_on_which_its_value_differs(silver: Silver) -> None:
    silver.load()
    silver.publish()
    values = (("2026-01-01", 30_000), ("2026-01-02", 20_000), ("2027-01-01", 1))
    rules = {"stream_min_ms": [{"from": since, "value": value} for since, value in values]}
    silver.tenant = make_tenant(silver.tenant.slug, SOME, rules=rules)
    silver.load()
    assert silver.touched() == {("rules", None), ("rules", date(2026, 1, 2))}
    silver.publish()
    silver.load()
    assert silver.touched() == set()


def test_the_business_day_goes_on_and_never_back(silver: Silver) -> None:
    silver.load(date(2026, 1, 9))
    silver.publish()
    silver.load(date(2026, 1, 3))
    assert silver.touched() == set()
    silver.load(date(2026, 1, 10))
    assert silver.rows("SELECT business_day FROM {raw}.tenant") == [(date(2026, 1, 10),)]
    assert silver.touched() == {("tenant", date(2026, 1, 10))}


def test_batches_are_reconciled(silver: Silver) -> None:
    facts = {"received_on": "2026-01-02", "rows": 10, "left_out": 1}
    silver.ledger.mark(silver.tenant, "bronze", "plays", {"plays/2026-01-02": Mark("b", facts), "plays/2026-01-03": Mark("b", facts)})
    silver.ledger.mark(silver.tenant, "quarantine", "plays", {"plays/2026-01-02": Mark("q", {"rows": 10, "valid": 7, "quarantined": 2})})
    silver.load()
    query = "SELECT batch, delivered, left_out, valid, quarantined FROM {raw}.reconciliation ORDER BY 1"
    assert silver.rows(query) == [("plays/2026-01-02", 10, 1, 7, 2), ("plays/2026-01-03", 10, 1, None, None)]
    assert ("reconciliation", date(2026, 1, 2)) in silver.touched()


def test_what_gates_found_is_loaded_by_the_days_that_differ_and_is_no_news_of_the_night(silver: Silver) -> None:
    passed = Result("check", "a.yml:1", "stop", "passed", "Because.", asked=3)
    first = Judgement("bronze", "plays", date(2026, 1, 1), "app/2026-01-01", (passed,), {"rows": 4})
    second = Judgement("marts", "plays", date(2026, 1, 2), "", (passed,), {"rows": 2})
    silver.ledger.judge(silver.tenant, [first, second])
    silver.load()
    silver.publish()
    query = (
        "SELECT layer, judged_on, passed, stopped, score, rows, quarantined, quarantined_ratio FROM {raw}.judged_days ORDER BY judged_on"
    )
    marts = ("marts", second.day, 1, 0, 1.0, 2, None, None)
    assert silver.rows(query) == [("bronze", first.day, 1, 0, 1.0, 4, None, None), marts]
    stands = silver.contents()
    silver.ledger.judge(silver.tenant, [second])  # the same again
    assert all(entry.skipped for entry in silver.load().entries)
    assert silver.contents() == stands
    silver.ledger.mark(silver.tenant, "quarantine", "plays", {first.part: Mark("", {"quarantined": 1})})
    (*_, entry) = silver.load().entries
    assert (entry.skipped, entry.counts["judged"]) == (True, 1)
    assert silver.rows(query) == [("bronze", first.day, 1, 0, 1.0, 4, 1, 0.25), marts]
    assert silver.touched() == {("judged_days", first.day)}


def test_tables_of_datasets_that_the_tenant_does_not_have_are_not_made(silver: Silver) -> None:
    silver.load()
    query = "SELECT relname::text FROM pg_class WHERE relnamespace = '{raw}'::regnamespace AND relkind = 'r'"
    tables = {name for (name,) in silver.rows(query)}
    assert {"plays", "payments", "tracks"} <= tables
    assert not tables & {"interactions", "plans", "rights"}


def test_a_table_of_an_older_declaration_gains_its_columns_and_is_loaded_again(silver: Silver) -> None:
    silver.load()
    silver.publish()
    raw = silver.tenant.raw_schema
    with connect(silver.settings, role=silver.tenant.owner_role) as connection:
        connection.execute(statement(f"ALTER TABLE {raw}.tracks DROP COLUMN title"))
        # the shape of the table is part of what `_loaded` says
        connection.execute(statement(f"UPDATE {raw}._loaded SET fingerprint = 'of fewer columns' WHERE dataset = 'tracks'"))
    silver.load()
    assert silver.rows("SELECT track_id, title FROM {raw}.tracks") == [("t1", "One")]
    assert silver.touched() == {("tracks", None)}


def test_a_column_of_another_type_than_before_is_made_anew_and_loaded_again(silver: Silver) -> None:
    silver.load()
    with connect(silver.settings, role=silver.tenant.owner_role) as connection:
        raw = silver.tenant.raw_schema
        connection.execute(statement(f"ALTER TABLE {raw}.plays ALTER COLUMN ms_played TYPE text"))
        connection.execute(statement(f"CREATE VIEW {silver.tenant.build_schema}.stg_plays AS SELECT ms_played FROM {raw}.plays"))
        connection.execute(statement(f"UPDATE {raw}._loaded SET fingerprint = split_part(fingerprint, '/', 1) || '/of_then'"))
    silver.load()
    assert silver.rows("SELECT pg_typeof(ms_played)::text, count(*) FROM {raw}.plays GROUP BY 1") == [("bigint", 3)]
    told = "SELECT col_description('{raw}.plays'::regclass, attnum) FROM pg_attribute WHERE attrelid = '{raw}.plays'::regclass"
    assert "Milliseconds played" in str(silver.rows(told + " AND attname = 'ms_played'"))


def test_a_load_that_is_killed_anywhere_is_finished_by_the_next(silver: Silver) -> None:
    silver.load()
    silver.publish()
    silver.write("plays", [play("p1", "2026-01-01", length=1), play("p5", "2026-01-01", "l5")], ["2026-01-01"])
    silver.write("tracks", [{"track_id": "t1", "title": "Another", "received_on": date(2026, 1, 1)}])
    states: list[dict[str, Any]] = []
    day = date(2026, 1, 10)
    with Killer(silver.settings, silver.tenant, day, "nocturne.warehouse:load_warehouse", marks="nocturne.ledger:Ledger") as killer:
        for _ in killer:
            found = silver.contents()
            # what was committed stays: the next load begins with what is left, at its first boundary
            if found not in states:
                states.append(found)
                killer.begin_anew()
    assert killer.count > 25
    # before anything, and after each of the three transactions that had something to do
    assert len(states) == 4
    stands = silver.contents()
    silver.load(day)
    assert silver.contents() == stands
    plays = silver.rows("SELECT play_id, ms_played FROM {raw}.plays ORDER BY 1")
    assert plays == [("p1", 1), ("p2", 40_000), ("p3", 40_000), ("p5", 40_000)]
    assert silver.touched() == {("plays", date(2026, 1, 1)), ("tracks", None), ("tenant", date(2026, 1, 10))}


def test_a_database_that_goes_away_in_the_middle_is_told_and_the_next_load_finishes(
    silver: Silver, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedDatabase(silver.settings, {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})

    def stop(what: str) -> None:
        if what.startswith("copied into") and what.endswith(".plays"):
            server.stop(mode="immediate")

    monkeypatch.setattr(postgres, "at_write", stop)
    try:
        with pytest.raises(DatabaseUnavailable):
            silver.load()
    finally:
        monkeypatch.undo()
        server.start()
    assert silver.load().count("loaded") == 4
    assert silver.rows("SELECT count(*) FROM {raw}.plays") == [(3,)]
