"""Taking back what was published: the rows of any of the last publishes, held until released, and builds that stay right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from nocturne.errors import PermanentError
from nocturne.ledger import Ledger, MemoryMarks
from nocturne.marts import list_publishes, steer_marts, trim_journal
from nocturne.postgres import connect, fetch, statement
from nocturne.receipts import Receipt
from nocturne.reports.material import read
from nocturne.tenants import Tenant
from tests.integration.marts.keeping import Kept
from tests.integration.marts.reference import differences
from tests.integration.marts.test_publish import DAY, SMALL, attempt, fill, reader
from tests.integration.marts.world import World, make_tenant
from tests.killing import Killer

Contents = dict[str, list[str]]
QUESTIONS = map(str, count())
REASON = "the prices of the plans were wrong"


def steer(world: World, action: str = "roll back", to: int | None = None, *, asked: str | None = None) -> Receipt:
    told: dict[str, Any] = {"action": action, "publish_id": to, "reason": REASON, "by": "Ada", "asked": asked or next(QUESTIONS)}
    return steer_marts(world.tenant, DAY, world.settings, MemoryMarks(), **told)


def fetched(world: World, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in fetch(world.settings, query.format(b=world.tenant.build_schema), role=world.tenant.owner_role)]


class Nights:
    """A world after its first night and after some more: plays come, change and go, and a payer pays more. Each is made once."""

    def __init__(self, world: World) -> None:
        fill(world)
        world.night(DAY)
        self.kept, self.states = [Kept.of(world)], [world.contents()]

    def __call__(self, how_many: int) -> tuple[World, list[Contents]]:
        """The world after so many more nights, and the published marts after each."""
        while len(self.kept) <= how_many:
            self._go_on(self.kept[-1].again(), len(self.kept) - 1)
        return self.kept[how_many].again(), self.states[: how_many + 1]

    def _go_on(self, world: World, number: int) -> None:
        world.add("plays", attempt(f"late-{number}", f"l{number % 2}", f"2026-01-0{number + 2}T2{number % 4}:00"))
        if number % 2:
            world.rows["plays"].pop(3)
        world.rows["plays"][5] = world.rows["plays"][5] | {"ms_played": 10_000 + number}
        world.rows["plans"][0] = world.rows["plans"][0] | {"price_amount": 11 + number}
        world.night(DAY)
        self.kept.append(Kept.of(world))
        self.states.append(world.contents())


@pytest.fixture(scope="module")
def nights(new_world: Callable[[Tenant], World]) -> Nights:
    return Nights(new_world(make_tenant("publishing", SMALL)))


@pytest.fixture
def world(nights: Nights) -> World:
    return nights(0)[0]


def test_any_publish_can_be_brought_back_and_forth(nights: Nights) -> None:
    world, states = nights(3)
    assert all(one != other for number, one in enumerate(states) for other in states[:number])
    for target in (1, 3, 2, 4, 1, 4):  # publishes count from one
        steer(world, to=target)
        assert world.contents() == states[target - 1], target
    history, held = list_publishes(world.tenant, world.settings)
    assert [(one.kind, one.stands_for) for one in history][:3] == [("rollback", 4), ("rollback", 1), ("rollback", 4)]
    assert held is not None
    assert f"by Ada: {REASON}. " in held.told


def test_without_a_number_it_goes_back_step_by_step(nights: Nights) -> None:
    world, states = nights(2)
    steer(world)
    assert world.contents() == states[1]
    steer(world)
    assert world.contents() == states[0]
    steer(world)
    assert not any(world.contents().values())
    with pytest.raises(PermanentError, match="Nothing is published that could be undone"):
        steer(world)
    steer(world, to=3)
    assert world.contents() == states[2]


def test_a_question_is_answered_once_however_often_it_is_asked(nights: Nights) -> None:
    world, states = nights(2)
    assert steer(world, asked="a run").entries[0].facts["to"] == 2
    again = steer(world, asked="a run")
    assert (again.entries[0].name, again.entries[0].skipped) == ("rollback", True)
    assert world.contents() == states[1]
    with pytest.raises(PermanentError, match="needs a reason"):
        steer_marts(world.tenant, DAY, world.settings, MemoryMarks(), action="hold", reason="no", asked="b", by="Ada")


def test_a_report_says_of_marts_that_were_rolled_back_since_when_they_stand(world: World) -> None:
    morrow = DAY + timedelta(days=1)
    world.add("plays", attempt("of the next day", "l1", f"{morrow}T10:00"))
    world.night(morrow)
    assert read(world.tenant, morrow, world.settings, Ledger(world.settings)).marts_day == morrow
    steer(world)
    report = read(world.tenant, morrow, world.settings, Ledger(world.settings))
    assert (report.marts_day, report.is_current) == (DAY, False)
    steer(world, "release")
    world.publish(morrow)
    assert read(world.tenant, morrow, world.settings, Ledger(world.settings)).is_current


def test_what_was_undone_is_not_published_again_until_it_is_released(nights: Nights) -> None:
    world, states = nights(2)
    steer(world, to=1)
    held = world.publish(DAY)
    assert held.entries[0].facts == {"held": True}
    assert REASON in held.warnings[0]
    assert world.contents() == states[0]
    # nights go on to build what comes in: of the dates that were taken back, and of others
    world.add("plays", attempt("while held", "l1", "2026-01-08T21:00"))
    assert world.night(DAY).warnings == held.warnings
    assert world.contents() == states[0]
    assert steer(world, "release").entries[0].facts == {"held": False}
    published = world.publish(DAY)
    assert published.warnings == ()
    assert world.contents() == world.contents(world.tenant.build_schema)
    assert differences(world, DAY) == []
    assert steer(world, "release").entries[0].skipped
    # and the next night changes its own row alone
    world.add("plays", attempt("afterwards", "l1", "2026-01-09T21:00"))
    assert {one.name: one.counts for one in world.night(DAY).entries}["plays"] == {"inserted": 1, "deleted": 0}
    assert differences(world, DAY) == []


def test_what_is_released_without_another_build_is_published_whole(nights: Nights) -> None:
    world, states = nights(2)
    steer(world)
    steer(world)
    steer(world, "release")
    assert world.publish(DAY).entries[0].skipped is False
    assert world.contents() == states[2]
    assert world.publish(DAY).entries[0].skipped


def test_a_rollback_that_is_undone_leaves_nothing_to_publish(nights: Nights) -> None:
    world, states = nights(1)
    steer(world)
    steer(world, to=2)
    steer(world, "release")
    assert world.publish(DAY).entries[0].skipped
    assert world.contents() == states[1]


def test_a_rollback_behind_new_code_makes_the_next_build_whole(nights: Nights) -> None:
    world, _ = nights(1)
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        connection.execute(statement(f"UPDATE {world.tenant.build_schema}._builds SET fingerprint = 'older' WHERE build_id = 1"))
    steer(world)
    steer(world, "release")
    world.add("plays", attempt("after new code", "l1", "2026-01-08T21:00"))
    world.load(DAY)
    assert world.build(DAY).entries[0].facts["is_full"]
    world.publish(DAY)
    assert differences(world, DAY) == []


def test_publishing_can_be_held_before_anything_is_wrong(world: World) -> None:
    before = world.contents()
    steer(world, "hold")
    assert steer(world, "hold").entries[0].skipped
    world.add("plays", attempt("held", "l1", "2026-01-08T21:00"))
    world.night(DAY)
    assert world.contents() == before


def test_the_journal_grows_with_the_rows_that_change(world: World) -> None:
    assert fetched(world, "SELECT count(*) FROM {b}._journal_rows") == [(0,)]  # the first publish is undone by emptying
    world.add("plays", attempt("one", "l1", "2026-01-03T20:00"))
    counts = {entry.name: entry.counts for entry in world.night(DAY).entries}
    kept = fetched(world, "SELECT mart, sum(went::int)::int AS went, sum((NOT went)::int)::int AS came FROM {b}._journal_rows GROUP BY 1")
    assert {mart: {"inserted": came, "deleted": went} for mart, went, came in kept} == {
        mart: one for mart, one in counts.items() if any(one.values())
    }
    assert fetched(world, "SELECT contents FROM {b}._journal_rows WHERE mart = 'plays'") == [
        ({"play_id": "one", "played_on": "2026-01-03"},)
    ]


def test_a_publish_that_changed_columns_is_not_undone_and_says_so(nights: Nights) -> None:
    world, _ = nights(1)
    marts, build = world.tenant.marts_schema, world.tenant.build_schema
    with connect(world.settings, role=world.tenant.owner_role) as connection:  # what stands was published by older code
        connection.execute(statement(f"ALTER TABLE {marts}.activity_days DROP COLUMN stream_count"))
        connection.execute(statement(f"ALTER TABLE {marts}.sessions ALTER COLUMN play_count TYPE text"))
        connection.execute(statement(f"UPDATE {build}._builds SET fingerprint = 'older'"))
    world.add("plays", attempt("with new code", "l1", "2026-01-08T21:00"))
    world.night(DAY)
    state = world.contents()
    with pytest.raises(PermanentError) as refused:
        steer(world)
    assert "Publish 3 cannot be undone, because activity_days: the columns stream_count came; sessions: the columns play_count" in str(
        refused.value
    )
    assert "Roll back to a publish from 3 on" in str(refused.value)
    assert world.contents() == state
    assert fetched(world, "SELECT count(*) FROM {b}._holds") == [(0,)]
    world.add("plays", attempt("after new code", "l1", "2026-01-08T22:00"))
    world.night(DAY)
    steer(world)
    assert world.contents() == state


def test_thirty_publishes_can_be_undone_and_older_ones_are_forgotten(nights: Nights) -> None:
    world, states = nights(3)
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        for table, columns in (("_journal", "publish_id"), ("_journal_marts", "publish_id"), ("_journal_rows", "publish_id")):
            connection.execute(statement(f"UPDATE {world.tenant.build_schema}.{table} SET {columns} = {columns} + 28 WHERE publish_id > 2"))
        connection.execute(
            statement(f"UPDATE {world.tenant.marts_schema}._publishes SET publish_id = publish_id + 28 WHERE publish_id > 2")
        )
    (entry,) = trim_journal(world.tenant, DAY, world.settings, MemoryMarks()).entries
    assert entry.counts["forgotten"] == 2
    assert entry.counts["removed"] > 10
    assert trim_journal(world.tenant, DAY, world.settings, MemoryMarks()).entries[0].skipped
    with pytest.raises(PermanentError, match="The rows of publish 2 of .* are no longer kept"):
        steer(world, to=1)
    with pytest.raises(PermanentError, match="There is no publish 7"):
        steer(world, to=7)
    steer(world, to=2)
    assert world.contents() == states[1]


def test_a_tenants_readers_see_nothing_of_the_journal(world: World) -> None:
    with reader(world) as connection:
        for table in ("_journal", "_journal_rows", "_journal_marts", "_holds"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement(f"SELECT count(*) FROM {world.tenant.build_schema}.{table}"))
            connection.rollback()


def test_a_rollback_that_is_killed_anywhere_has_done_all_or_nothing(nights: Nights) -> None:
    world, states = nights(2)

    def whole() -> list[Any]:
        return [
            world.contents(),
            fetched(world, "SELECT count(*) FROM {b}._holds"),
            fetched(world, "SELECT max(publish_id) FROM {b}._journal"),
        ]

    before, after = [states[2], [(0,)], [(3,)]], [states[0], [(1,)], [(4,)]]
    assert whole() == before
    told = {"publish_id": 1, "reason": "it was wrong", "asked": "once", "by": "Ada"}
    with Killer(world.settings, world.tenant, DAY, "nocturne.marts:steer_marts", marks="nocturne.ledger:MemoryMarks", **told) as killer:
        for _ in killer:
            found = whole()
            assert found in (before, after)
            if found == after:
                break
    assert killer.count > 30
    assert whole() == after
