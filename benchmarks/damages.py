"""Forty and more kinds of damage to a day behind a clean history, taken through the night as it is, until something stops it.

A kind changes the rows of one dataset's file, or the file's text, and says what it demands: `stop` (such rows must not be published) or
`warn` (they may be right, and somebody must look). `stopped`: a station refuses the day. `told`: a warning names it. `unseen`: neither.
A build is damaged in its tables, behind the first gate, where a broken station or a hand would do it: there everything must stop.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from nocturne.bronze import load_bronze
from nocturne.errors import PermanentError
from nocturne.gates import gate_bronze, gate_marts
from nocturne.landing import land
from nocturne.ledger import MemoryMarks
from nocturne.marts import build_marts
from nocturne.postgres import connect, statement
from nocturne.settings import Settings
from nocturne.silver import refine_silver
from nocturne.simulator import World, write_sources
from nocturne.tenants import Tenant
from nocturne.warehouse import load_warehouse

Row = dict[str, Any]
Outcome = Literal["stopped", "told", "unseen"]
Demand = Literal["stop", "warn"]
Lines = Sequence[str]
Change = Callable[[Row, int], Row]
_ARCHIVED_DAYS = 25
_AGO_SECONDS = 600
"""An empty file that was written just now is taken for one that is still being written."""
_SNAPSHOTS = 5
LANDING: tuple[Any, ...] = (land, load_bronze, gate_bronze)
BUILDING: tuple[Any, ...] = (refine_silver, load_warehouse, build_marts, gate_marts)
"""The stations of a night up to its first gate, and on from there up to its second."""


@dataclass(frozen=True)
class Day:
    """The last day of a world as its files hold it, and what a kind of damage may put in their place."""

    lines: Lines
    before: Lines  # of the day before
    foreign: Lines  # of another tenant


@dataclass(frozen=True)
class Kind:
    """One kind of damage to a day of a dataset."""

    name: str
    dataset: str
    demands: Demand
    damage: Callable[[Day], Lines]


def rows(change: Change) -> Callable[[Day], Lines]:
    """Damage row by row; a change gets the row and its number."""
    return lambda day: [json.dumps(change(json.loads(line), number)) for number, line in enumerate(day.lines)]


def lines(change: Callable[[Lines], Lines]) -> Callable[[Day], Lines]:
    """Damage to the text of the file."""
    return lambda day: change(day.lines)


def put(every: int = 1, **values: Any) -> Callable[[Day], Lines]:
    """The same values in every row, or in each so-many-th."""
    return rows(lambda row, number: row if number % every else row | values)


def scaled(column: str, factor: float) -> Callable[[Day], Lines]:
    """Another unit."""

    def change(row: Row, _: int) -> Row:
        value = row.get(column)
        if value is None:
            return row
        return row | {column: round(value * factor) if isinstance(value, int) else str(round(float(value) * factor, 6))}

    return rows(change)


def renamed(column: str) -> Callable[[Day], Lines]:
    """A column under another name."""
    return rows(lambda row, _: {f"{name}_new" if name == column else name: value for name, value in row.items()})


def later(column: str, **by: float) -> Callable[[Day], Lines]:
    """Instants of a wrong clock."""
    return rows(lambda row, _: row | {column: (datetime.fromisoformat(row[column]) + timedelta(**by)).isoformat()})


def exchanged(one: str, other: str) -> Callable[[Day], Lines]:
    """Two columns under each other's name."""
    return rows(lambda row, _: row | {one: row.get(other), other: row.get(one)})


def shifted(row: Row, _: int) -> Row:
    """Every value under its neighbour's name, as behind a comma too many."""
    return dict(zip(row, [*list(row.values())[1:], None], strict=True))


def farmed(day: Day) -> Lines:
    """Beside the day's plays, those of twenty accounts that let one track run for just long enough to count."""
    pattern = json.loads(day.lines[0])
    chance = random.Random(1)
    told = datetime.fromisoformat(pattern["played_at"]).replace(hour=3, minute=0)
    bots = [
        pattern | {
            "play_id": f"farm-{bot}-{play}", "listener_id": f"farm-{bot}", "ms_played": chance.randrange(31_000, 34_000),
            "played_at": (told + timedelta(seconds=35 * play + bot)).isoformat(), "reason_end": "forward",
        }
        for bot in range(20) for play in range(max(5, len(day.lines) // 100))
    ]  # fmt: skip
    return [*day.lines, *map(json.dumps, bots)]


KINDS: Sequence[Kind] = (
    Kind("milliseconds as seconds", "plays", "stop", scaled("ms_played", 0.001)),
    Kind("milliseconds as microseconds", "plays", "stop", scaled("ms_played", 1000)),
    Kind("negative durations", "plays", "stop", scaled("ms_played", -1)),
    Kind("no durations", "plays", "stop", put(ms_played=None)),
    Kind("durations of nothing", "plays", "stop", put(ms_played=0)),
    Kind("instants a year ahead", "plays", "stop", later("played_at", days=365)),
    Kind("a clock an hour off", "plays", "warn", later("played_at", hours=1)),
    Kind("a clock of another time zone", "plays", "warn", later("played_at", hours=-7)),
    Kind("instants of 1970", "plays", "stop", put(played_at="1970-01-01T00:00:00+00:00")),
    Kind("instants in another form", "plays", "stop", put(played_at="13/14/26 at ten")),
    Kind("no listeners", "plays", "stop", put(listener_id=None)),
    Kind("one listener", "plays", "stop", put(listener_id="everybody")),
    Kind("a farm of bots", "plays", "warn", farmed),
    Kind("no tracks", "plays", "stop", put(track_id=None)),
    Kind("tracks of another catalogue", "plays", "stop", rows(lambda row, n: row | {"track_id": f"other-{n}"})),
    Kind("one unknown track in two hundred", "plays", "warn", rows(lambda row, n: row | ({} if n % 200 else {"track_id": f"other-{n}"}))),
    Kind("one key", "plays", "stop", put(play_id="the same")),
    Kind("every row twice", "plays", "warn", lines(lambda day: [*day, *day])),
    Kind("every row five times", "plays", "stop", lines(lambda day: list(day) * 5)),
    Kind("yesterday's rows beside today's", "plays", "warn", lambda day: [*day.before, *day.lines]),
    Kind("yesterday's rows in place of today's", "plays", "stop", lambda day: day.before),
    Kind("another tenant's rows", "plays", "stop", lambda day: day.foreign),
    Kind("names for countries", "plays", "stop", put(country="France")),
    Kind("codes of no country", "plays", "stop", put(country="XQ")),
    Kind("no countries", "plays", "stop", put(country=None)),
    Kind("another country", "plays", "stop", put(country="BR")),
    Kind("no platforms", "plays", "stop", put(platform=None)),
    Kind("another platform", "plays", "stop", put(platform="fridge")),
    Kind("other words for the end", "plays", "stop", put(reason_end="ended")),
    Kind("other words for the context", "plays", "stop", put(context_type="somewhere")),
    Kind("a required column renamed", "plays", "stop", renamed("ms_played")),
    Kind("an optional column renamed", "plays", "stop", renamed("country")),
    Kind("columns shifted by one", "plays", "stop", rows(shifted)),
    Kind("half of the lines cut", "plays", "stop", lines(lambda day: [line[: n % 2 * 40 or None] for n, line in enumerate(day)])),
    Kind("a tenth of the lines cut", "plays", "stop", lines(lambda day: [line if n % 10 else line[:9] for n, line in enumerate(day)])),
    Kind("an archive of all days", "plays", "stop", lines(lambda day: [
        json.dumps(json.loads(line) | {"play_id": f"{number}-{copy}"}) for copy in range(_ARCHIVED_DAYS) for number, line in enumerate(day)
    ])),
    Kind("no rows", "plays", "stop", lambda _: []),
    Kind("a fifth of the rows", "plays", "stop", lines(lambda day: day[: len(day) // 5])),
    Kind("three fifths of the rows", "plays", "warn", lines(lambda day: day[: len(day) * 3 // 5])),
    Kind("amounts in cents", "payments", "stop", scaled("amount", 100)),
    Kind("negative amounts", "payments", "stop", scaled("amount", -1)),
    Kind("no amounts", "payments", "stop", put(amount=None)),
    Kind("amount and tax exchanged", "payments", "stop", exchanged("amount", "tax_amount")),
    Kind("no currency", "payments", "stop", put(currency=None)),
    Kind("codes of no currency", "payments", "stop", put(currency="XQQ")),
    Kind("another currency", "payments", "stop", put(currency="JPY")),
    Kind("another currency for every fourth", "payments", "warn", put(every=4, currency="JPY")),
    Kind("other words for the status", "payments", "stop", put(status="paid")),
    Kind("payments without payers", "payments", "stop", put(listener_id=None)),
    Kind("payments of strangers", "payments", "warn", rows(lambda row, n: row | {"listener_id": f"stranger-{n}"})),
    Kind("payments of next month", "payments", "stop", later("paid_at", days=31)),
    Kind("subscriptions to no plan", "subscription_events", "warn", put(plan_id="a plan that nobody knows")),
    Kind("half of the catalogue", "tracks", "stop", lines(lambda day: day[: len(day) // 3])),
    Kind("tracks without titles", "tracks", "stop", put(title=None)),
    Kind("track lengths in seconds", "tracks", "stop", scaled("duration_ms", 0.001)),
    Kind("one key for all tracks", "tracks", "stop", put(track_id="the same")),
)  # fmt: skip

BUILDS: Mapping[str, tuple[str, str]] = {
    "a play that the mart lost": (
        "plays",
        "DELETE FROM {build}.plays WHERE play_id = (SELECT max(play_id) FROM {build}.plays WHERE {day})",
    ),
    "a play that the mart made up": (
        "plays",
        "INSERT INTO {build}.plays SELECT (jsonb_populate_record(p, jsonb_build_object('play_id', 'made up'))).* FROM {build}.plays AS p"
        " WHERE {day} LIMIT 1",
    ),
    "a payment that is a cent off": (
        "payments",
        "UPDATE {raw}.payments SET amount = amount + 0.01 WHERE payment_id = (SELECT max(payment_id) FROM {raw}.payments"
        " WHERE paid_on = (SELECT max(paid_on) FROM {raw}.payments))",
    ),
    "revenue that is a cent off": (
        "revenue_days",
        "UPDATE {build}.revenue_days SET gross_amount = gross_amount + 0.01, net_amount = net_amount + 0.01"
        " WHERE revenue_on = (SELECT max(paid_on) FROM {raw}.payments) AND stream_of_revenue = 'subscription'",
    ),
    "a tax that nobody paid": (
        "revenue_days",
        "UPDATE {build}.revenue_days SET tax_amount = tax_amount + 0.01 WHERE revenue_on = (SELECT max(paid_on) FROM {raw}.payments)",
    ),
    "recurring revenue that does not follow": (
        "mrr_days",
        "UPDATE {build}.mrr_days SET closing_amount = closing_amount + 0.01 WHERE day_on = (SELECT max(day_on) FROM {build}.mrr_days)",
    ),
    "more listeners in a day than in a month": (
        "activity_days",
        "UPDATE {build}.activity_days SET listeners_1d = listeners_28d + 1 WHERE {day}",
    ),
    "more streams than plays": ("genre_days", "UPDATE {build}.genre_days SET stream_count = play_count + 1 WHERE {day}"),
    "a day that stands twice": (
        "reconciliation_days",
        "UPDATE {build}.reconciliation_days SET mart_count = mart_count * 2, difference_count = difference_count - mart_count"
        " WHERE dataset = 'plays' AND event_on = (SELECT max(played_on) FROM {build}.plays)",
    ),
    "a mart that everybody reads": ("", "GRANT SELECT ON {build}.plays TO PUBLIC"),
}
"""Damage to a build, or to what it was made from: (the table that is put back afterwards, SQL). `{day}` is: of the last day of plays."""


@dataclass(frozen=True)
class Tried:
    """What the night made of a kind of damage."""

    name: str
    demands: Demand
    outcome: Outcome

    @property
    def is_met(self) -> bool:
        """Whether it was stopped, or, where that is enough, told."""
        return self.outcome == "stopped" or (self.outcome == "told" and self.demands == "warn")


class Trial:
    """A clean world that has come through the night, whose last day is damaged, tried and mended again, kind by kind."""

    def __init__(self, tenant: Tenant, world: World, foreign: World, settings: Settings, *, builds: bool) -> None:
        """With `builds` the night goes on behind the first gate, up to the second; that needs a database."""
        self.tenant, self.world, self.settings = tenant, world, settings
        self.marks = MemoryMarks()
        write_sources(tenant, foreign, settings.sources_root, days=foreign.days[-1:])
        damaged = {kind.dataset for kind in KINDS}
        self.foreign = {dataset: self._path(dataset, foreign.days[-1]).read_text(encoding="utf-8").splitlines() for dataset in damaged}
        self.builds = builds
        for day in world.days[-_SNAPSHOTS:]:  # registers are delivered whole, each night as they are by then
            write_sources(tenant, world, settings.sources_root, up_to=day)
            self.usual = self._run(LANDING, day)
        self.usual += self._run(BUILDING) if builds else []

    def _path(self, dataset: str, day: date) -> Path:
        (source,) = self.tenant.sources_of(dataset)
        return self.settings.sources_root / source.location.replace("{day}", day.isoformat())

    def _run(self, stations: Sequence[Any], day: date | None = None) -> list[str]:
        on = day or self.world.days[-1]
        return [told for station in stations for told in station(self.tenant, on, self.settings, self.marks).warnings]

    def land(self) -> list[str]:
        """Take the last day as its files are now; what is warned of."""
        return self._run(LANDING)

    def _night(self) -> list[str]:
        return self.land() + self._run(BUILDING)

    def rows(self, kind: Kind) -> Tried:
        """Try damage to the rows of the last day."""
        today, before = (self._path(kind.dataset, day) for day in (self.world.days[-1], self.world.days[-2]))
        sound = today.read_text(encoding="utf-8")
        day = Day(sound.splitlines(), before.read_text(encoding="utf-8").splitlines(), self.foreign[kind.dataset])
        self._deliver(today, "".join(f"{line}\n" for line in kind.damage(day)))
        tried, mend = Tried(kind.name, kind.demands, self._outcome(self.land)), self.land
        if self.builds and not tried.is_met:
            tried, mend = Tried(kind.name, kind.demands, self._outcome(self._night)), self._night
        self._deliver(today, sound)
        self.usual += mend()  # that a column is back where it was is said as well
        return tried

    def _deliver(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        delivered = time.time() - _AGO_SECONDS
        os.utime(path, (delivered, delivered))

    def _outcome(self, night: Callable[[], list[str]]) -> Outcome:
        try:
            told = night()
        except PermanentError:
            return "stopped"
        return "told" if set(told) - set(self.usual) else "unseen"

    def build(self, name: str) -> Tried:
        """Try damage to the build, which has not been published."""
        table, damaging = BUILDS[name]
        names = {"build": self.tenant.build_schema, "raw": self.tenant.raw_schema}
        names["day"] = "played_on = (SELECT max(played_on) FROM {build}.plays)".format(**names)
        schema = names["raw"] if table == "payments" else names["build"]
        kept = f"{schema}.{table}_kept"
        self._execute(*([f"CREATE TABLE {kept} AS TABLE {schema}.{table}"] if table else []), damaging.format(**names))
        tried = Tried(name, "stop", self._outcome(lambda: self._run([gate_marts])))
        if table:
            self._execute(f"TRUNCATE {schema}.{table}", f"INSERT INTO {schema}.{table} TABLE {kept}", f"DROP TABLE {kept}")
        else:
            self._execute(f"REVOKE SELECT ON {names['build']}.plays FROM PUBLIC")
        return tried

    def _execute(self, *texts: str) -> None:
        with connect(self.settings, role=self.tenant.owner_role) as connection:
            for text in texts:
                connection.execute(statement(text))
