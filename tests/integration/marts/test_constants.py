"""Every constant in the SQL of a whole build is a definition: change one, and some mart is not what the definitions say.

The models are compiled by dbt once, and made again by PostgreSQL alone, beside the build: the one with another constant, and what reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from nocturne.marts.building import CI_ONLY, run_dbt
from nocturne.postgres import SQL, Identifier, connect, statement
from nocturne.settings import PROJECT
from nocturne.tenants import Tenant
from tests.integration.marts import (
    reference_audience,
    test_acquisition,
    test_artists,
    test_content,
    test_operations,
    test_playlists,
    test_revenue,
    test_royalties,
    test_subscriptions,
)
from tests.integration.marts.keeping import Kept
from tests.integration.marts.randomness import Randomness, random_world
from tests.integration.marts.reference import Marts, Table, differences, expected
from tests.integration.marts.test_definitions import RULES, fill
from tests.integration.marts.test_royalties import flag, pay, play, right
from tests.integration.marts.world import World, local, make_tenant

A_SUNDAY = date(2026, 5, 3)
"""The business day: the week that ends with it is just over."""
BESIDE = "constants_altered"
NAMES = sorted(path.stem for folder in ("intermediate", "marts") for path in (PROJECT / "dbt" / "models" / folder).rglob("*.sql"))
_ONLY_BY_NIGHT = re.compile(r"int_affected|int_changed|int_window")
_NO_CONSTANT = re.compile(
    r"--[^\n]*|/\*.*?\*/|numeric\(\d+, \d+\)|\)\)?\[1\]|unbounded preceding and 1 preceding|\(\s*select 1"
    # which days a night must look at, and a tolerance for shares that are no finite decimals: no definitions
    r"|generate_series\(asked[^)]*\)|month_on \+ interval '1 month'|0\.0000005",
    re.DOTALL,
)
_EQUAL = {
    "artist_audience": (r"1 preceding\s*\),\s*>>5<<", "no group before it is small: any number from five on says so"),
    "artist_pairs": (r"limit >>5000<<", "has a test of its own, of a smaller bound"),
    "attribution_months": (
        r", >>1[28]<< ?\)|1e->>15<<|>>1<<::numeric as growth|round_number (?:\+ >>1<<|< >>5000<<)",
        "decimals beyond those that tell credits apart; rounds are only put in order, and end long before their bound",
    ),
    "experiment_variants": (r"->>700<<", "keeps exp() from an overflow"),
    "genre_weeks": (r"week_on - >>7<<", "a whole build asks all weeks anyway"),
    "int_due_statements": (r"interval '(?:1 month - )?>>1<< (?:month|day)", "statements have tests of their own, night by night"),
    "int_listener_totals": (r"month_number <= >>24<<", "a month beyond the last that is told has no cell"),
    "int_stream_days": (r"played_on \+ >>1<< as event_on", "a whole build reads all flags; of a night there is a test of its own"),
    "int_subscriber_states": (r">>4<< as place", "only the order of places counts"),
    "listener_sketches": (r"0::bit\(>>8192<<", "longer ones are cut to the length of a sketch"),
    "licence_months": (r">>1<< -", "a licence that nobody holds has no share that is told"),
    "royalty_shares": (
        r"\* 100, >>12<<\)|played_on \+ >>1<< as event_on",
        "decimals beyond those that tell remainders apart; a whole build reads all flags, and of a night there is a test of its own",
    ),
}
"""Constants of a model that may be others, by what stands around them, and why."""
_TEXT = "'(?:gte|gt|ZZ|WW|trial_started|track_done)'"


@dataclass(frozen=True)
class Model:
    """A model as dbt compiled it for a whole build."""

    name: str
    kind: str
    sql: str
    reads: frozenset[str]

    def constants(self) -> Iterator[tuple[int, int]]:
        """(start, end) of every number, and of the words that rules turn on."""
        text = _NO_CONSTANT.sub(lambda found: " " * len(found.group()), self.sql)
        for found in re.finditer(rf"(?<![\w.'])\d+(?:\.\d+)?(?![\w])|(?<=interval ')\d+|{_TEXT}", text):
            if found.group() not in {"0", "0.0"}:
                yield found.span()


def other(constant: str) -> str:
    """A constant that is near, but not the same."""
    if constant.startswith("'"):
        return "'another'"
    return str(float(constant) * 1.5) if "." in constant else str(int(constant) + 1)


@dataclass(frozen=True)
class Handmade:
    """A world whose rows stand where definitions turn, as some test of the marts made it; here its tenant has all datasets."""

    fill: Callable[[World], None]
    day: date
    tenant: Mapping[str, Any] = field(default_factory=dict)


def fill_everything(world: World) -> None:
    fill(world, A_SUNDAY)
    random_world(world, 11, date(2026, 1, 1), date(2026, 2, 20), plays=150)
    crowd = Randomness(29, listeners=30)
    for dataset, rows in crowd.listening(world.tenant, date(2026, 3, 1), A_SUNDAY, 400).items():
        world.add(dataset, *rows)


def fill_over_years(world: World) -> None:
    """What stands as far back as definitions look, and a month or a day further; who goes back and forth; and what comes late."""
    for track in ("old", "older", "other"):
        world.add("tracks", {"track_id": track, "title": track, "artist_id": "a", "duration_ms": 200_000, "genre": "pop"})
        world.add("rights", right(track, "alpha", 1.0))
    # six streams are paid for: those of eleven months before count, those of twelve do not
    for track, then, now in (("old", "2025-04", "2026-03-10"), ("older", "2025-02", "2026-02-10")):
        for number in range(5):
            world.add("plays", play(f"{track} {number}", f"{then}-0{number + 1}", track, "early"))
        world.add("plays", play(f"{track} now", now, track, "early"))
    # who comes back after 60 days, or after 25 months, and who was new seven days ago
    for listener, days in {
        "returning": ("2026-01-02", "2026-03-03"),
        "faithful": ("2024-02-10", "2025-01-10", "2025-12-10", "2026-03-05"),
        "new": ("2026-03-23", "2026-03-28"),
    }.items():
        world.add("plays", *(play(f"{listener} {day}", day, "other", listener) for day in days))
    # of February the twelve months before count: the ratios of three, and not that of January of the year before
    for ends, streams in (("2025-01-31", 8), ("2025-02-28", 20), ("2025-12-31", 2), ("2026-01-31", 1), ("2026-02-28", 3)):
        state(world, ends, date.fromisoformat(ends), stream_count=streams)
    price = {"plan_id": "m", "country": "WW", "valid_from_on": date(2020, 1, 1), "price_amount": 10, "currency": "EUR"}
    world.add("plans", price | {"tier": "premium", "billing_period": "month"})
    pay(world, "after 0", "2026-03-02", 10)
    fill_back_and_forth(world)
    for days in (0, 1, 5):
        fill_late(world, f"after {days}", days)


def fill_back_and_forth(world: World) -> None:
    """Two channels of a month, of which the second in order leads to a payment more often: what is approached there is not reached at once."""
    for listener, channels in (("arrives", ("email", "search")), ("is lost", ("email", "search", "email"))):
        for day, channel in enumerate(channels, start=10):
            test_acquisition.contact(world, listener, channel, local(f"2025-11-{day}T12:00"))
    test_acquisition.open_period(world, "arrives", "started", local("2025-11-12T12:00"))


def fill_late(world: World, name: str, days: int) -> None:
    """An event of each dataset that has events, all of one day, that was received so many days later."""
    on = date(2026, 2, 27)
    at, late = local(f"{on}T12:00"), {"received_on": on + timedelta(days)}
    by, worth = late | {"listener_key": name}, late | {"currency": "EUR", "country": "FR"}
    started = {"event_id": name, "event_type": "started", "occurred_at": at, "subscription_id": name, "plan_id": "m"}
    world.add("subscription_events", by | started | {"period_from_on": on, "period_to_on": date(2026, 4, 2)})
    world.add("plays", play(name, str(on), "other", name) | late)
    world.add("interactions", by | {"interaction_id": name, "interacted_at": at, "interaction": "like"})
    world.add("payments", by | worth | {"payment_id": name, "paid_at": at, "amount": 10, "status": "succeeded"})
    world.add("ad_impressions", worth | {"impression_id": name, "shown_at": at, "revenue_amount": 1})
    world.add("touchpoints", by | {"touchpoint_id": name, "touched_at": at, "channel": "search"})
    world.add("exposures", by | {"experiment_id": "late", "variant": "control", "exposed_at": at})
    world.add("artificial_streams", flag(name, on) | late)
    world.add("sales", worth | {"sale_id": name, "sold_on": on, "track_id": "other", "unit_count": 1, "net_amount": 1})
    state(world, name, on, **late)


def state(world: World, name: str, ends: date, **more: Any) -> None:
    """A line of a statement."""
    line = {"line_id": name, "service": "shop", "track_id": "other", "currency": "EUR", "net_amount": 1, "period_ends_on": ends}
    world.add("statements", line | more)


def fill_subscriptions_beside_an_artist(world: World) -> None:
    """Of an artist whom nobody hears it is known that nobody is new, once the deliveries are a week old."""
    test_subscriptions.fill(world)
    world.add("artists", {"artist_id": "unheard", "artist_name": "Unheard"})


HANDMADE = (
    Handmade(fill_everything, A_SUNDAY, {"begins_on": date(2025, 10, 1), "sees_whole_market": True, "rules": RULES}),
    Handmade(test_acquisition.fill, test_acquisition.TODAY),
    Handmade(test_artists.fill, test_artists.TODAY, {"begins_on": test_artists.BEGINS}),
    Handmade(test_content.fill, test_content.TODAY, {"begins_on": test_content.BEGINS}),
    Handmade(test_playlists.fill, test_playlists.TODAY, {"begins_on": test_playlists.BEGINS}),
    Handmade(test_subscriptions.fill, test_subscriptions.TODAY, {"rules": test_subscriptions.RULES}),
    Handmade(test_revenue.fill, test_revenue.TODAY),
    Handmade(test_royalties.fill, test_royalties.TODAY, {"sees_whole_market": True, "rules": test_royalties.RULES}),
    Handmade(test_operations.fill_apart, date(2026, 5, 31), {"bill": [{"from": date(2026, 1, 1), "month": 1, "million_rows": 125_310}]}),
    # days on which something is just over, or not quite
    Handmade(fill_everything, date(2026, 3, 30), {"begins_on": date(2025, 10, 1), "sees_whole_market": True, "rules": RULES}),
    Handmade(test_artists.fill, test_artists.BEGINS + timedelta(28), {"begins_on": test_artists.BEGINS}),
    Handmade(test_playlists.fill, test_playlists.ADDED + timedelta(14), {"begins_on": test_playlists.BEGINS}),
    Handmade(fill_subscriptions_beside_an_artist, date(2026, 4, 30), {"begins_on": date(2026, 4, 23), "rules": test_subscriptions.RULES}),
    Handmade(fill_over_years, date(2026, 3, 30), {"begins_on": date(2024, 2, 1), "rules": {"churn_grace_days": 31}}),
)


@dataclass(frozen=True)
class Place:
    """A handmade world with its marts, and what they should hold."""

    kept: Kept
    day: date
    wanted: dict[str, Table]


class Places:
    """The handmade worlds, of which one stands; each is made when it is first asked for."""

    def __init__(self, new_world: Callable[[Tenant], World]) -> None:
        self.new_world = new_world
        self.made: dict[int, Place] = {}
        self.standing: int | None = None

    def __getitem__(self, number: int) -> Place:
        if number not in self.made:
            self.made[number] = self._make(HANDMADE[number])
        elif number != self.standing:
            self.made[number].kept.again()
        self.standing = number
        return self.made[number]

    def _make(self, handmade: Handmade) -> Place:
        world = self.new_world(make_tenant("constants", **handmade.tenant))
        handmade.fill(world)
        world.night(handmade.day)
        wanted = expected(world, handmade.day)
        assert differences(world, handmade.day, world.tenant.build_schema, by=wanted) == []
        return Place(Kept.of(world), handmade.day, wanted)


@pytest.fixture(scope="module")
def places(new_world: Callable[[Tenant], World]) -> Places:
    return Places(new_world)


@pytest.fixture(scope="module")
def models(places: Places) -> dict[str, Model]:
    """All models of a whole build, each behind those that it reads."""
    found = {}
    kept = places[0].kept
    for result in run_dbt(kept.tenant, kept.settings, "compile", "--full-refresh", "--exclude", *CI_ONLY):
        node = result.node
        if node.resource_type == "model":
            reads = frozenset(name.rsplit(".", 1)[-1] for name in node.depends_on.nodes if name.startswith("model."))
            found[node.name] = Model(node.name, node.config.materialized, node.compiled_code, reads)
    ordered: dict[str, Model] = {}
    while len(ordered) < len(found):
        ordered |= {name: one for name, one in found.items() if name not in ordered and one.reads & found.keys() <= ordered.keys()}
    return ordered


@contextmanager
def altered(kept: Kept, models: Mapping[str, Model], name: str, text: str) -> Iterator[Sequence[str]]:
    """A model of another text, and what reads it, in a schema beside the build while the block runs; their names."""
    behind = [name]
    for model in models.values():
        if model.reads & set(behind):
            behind.append(model.name)
    there = re.compile(rf'"{kept.tenant.build_schema}"\."({"|".join(behind)})"')
    with connect(kept.settings) as connection:
        owner = Identifier(kept.tenant.owner_role)
        connection.execute(SQL("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0} AUTHORIZATION {1}").format(Identifier(BESIDE), owner))
    with connect(kept.settings, role=kept.tenant.owner_role) as connection:
        for one in behind:
            kind = "VIEW" if models[one].kind == "view" else "TABLE"
            sql = there.sub(rf'"{BESIDE}"."\1"', text if one == name else models[one].sql)
            connection.execute(statement(f'CREATE {kind} "{BESIDE}"."{one}" AS {sql}'))
    yield behind


def shows(place: Place, models: Mapping[str, Model], name: str, text: str) -> bool:
    """Whether some mart is not what it should be when a model has another text."""
    try:
        with altered(place.kept, models, name, text) as behind:
            reached = {mart: rows for mart, rows in place.wanted.items() if mart in behind}
            world = World(place.kept.tenant, place.kept.settings)
            return differences(world, place.day, BESIDE, by=reached) != []
    except (psycopg.Error, AssertionError):  # it cannot be made at all; a key stands twice
        return True


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if not _ONLY_BY_NIGHT.search(name)])
def test_a_changed_constant_shows(places: Places, models: dict[str, Model], name: str) -> None:
    """In one of the worlds at least."""
    sql = models[name].sql
    pattern, _ = _EQUAL.get(name, ("never", ""))
    left = [span for span in models[name].constants() if not re.search(pattern, around(sql, *span))]
    for number in range(len(HANDMADE)):
        if left:
            place = places[number]
            left = [(a, b) for a, b in left if not shows(place, models, name, f"{sql[:a]}{other(sql[a:b])}{sql[b:]}")]
    assert [around(sql, *span) for span in left] == []


def around(sql: str, start: int, end: int) -> str:
    """A constant and what stands around it, in one line."""
    return " ".join(f"{sql[max(0, start - 60) : start]}>>{sql[start:end]}<<{sql[end : end + 40]}".split())


@pytest.mark.slow
def test_of_more_listeners_than_the_bound_the_first_by_key_are_counted(places: Places, models: dict[str, Model]) -> None:
    place = places[0]
    world = place.kept.again()
    marts = Marts(world, place.day)
    marts.all()
    few = {"artist_pairs": reference_audience.pairs(marts, most_listeners=20)}
    sql = models["artist_pairs"].sql
    assert "5000" in sql
    with altered(place.kept, models, "artist_pairs", sql.replace("5000", "20")):
        assert differences(world, place.day, BESIDE, by=few) == []
    assert few["artist_pairs"] != place.wanted["artist_pairs"]
