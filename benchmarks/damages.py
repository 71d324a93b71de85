"""Damaged deliveries of one day behind a clean history, through landing, loading and the gate as at night: what stops, what is only told.

Each kind changes the rows of one dataset's file, or the file's text. `stopped`: loading or the gate refuses the day. `told`: a warning
names it. `unseen`: neither; such rows reach silver, where single bad rows still go to quarantine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from nocturne.bronze import load_bronze
from nocturne.errors import PermanentError
from nocturne.gates import gate_bronze
from nocturne.landing import land
from nocturne.ledger import MemoryMarks
from nocturne.settings import Settings
from nocturne.simulator import World, write_sources
from nocturne.tenants import Tenant

Row = dict[str, Any]
Outcome = Literal["stopped", "told", "unseen"]
Change = Callable[[Row, int], Row]
_ENDLESS = 20


@dataclass(frozen=True)
class Kind:
    """One kind of damage to a day of a dataset."""

    name: str
    dataset: str
    damage: Callable[[Sequence[str]], Sequence[str]]


def rows(change: Change) -> Callable[[Sequence[str]], Sequence[str]]:
    """Damage row by row; a change gets the row and its number."""
    return lambda lines: [json.dumps(change(json.loads(line), number)) for number, line in enumerate(lines)]


def put(**values: Any) -> Callable[[Sequence[str]], Sequence[str]]:
    """The same values in every row."""
    return rows(lambda row, _: row | values)


def scaled(column: str, factor: float) -> Callable[[Sequence[str]], Sequence[str]]:
    """Another unit."""

    def change(row: Row, _: int) -> Row:
        value = row.get(column)
        if value is None:
            return row
        return row | {column: round(value * factor) if isinstance(value, int) else str(round(float(value) * factor, 6))}

    return rows(change)


def renamed(column: str) -> Callable[[Sequence[str]], Sequence[str]]:
    """A column under another name."""
    return rows(lambda row, _: {f"{name}_new" if name == column else name: value for name, value in row.items()})


def later(column: str, **by: float) -> Callable[[Sequence[str]], Sequence[str]]:
    """Instants of a wrong clock."""
    return rows(lambda row, _: row | {column: (datetime.fromisoformat(row[column]) + timedelta(**by)).isoformat()})


def exchanged(one: str, other: str) -> Callable[[Sequence[str]], Sequence[str]]:
    """Two columns under each other's name."""
    return rows(lambda row, _: row | {one: row.get(other), other: row.get(one)})


KINDS: Sequence[Kind] = (
    Kind("milliseconds as seconds", "plays", scaled("ms_played", 0.001)),
    Kind("milliseconds as microseconds", "plays", scaled("ms_played", 1000)),
    Kind("negative durations", "plays", scaled("ms_played", -1)),
    Kind("no durations", "plays", put(ms_played=None)),
    Kind("durations of nothing", "plays", put(ms_played=0)),
    Kind("instants a year ahead", "plays", later("played_at", days=365)),
    Kind("a clock an hour off", "plays", later("played_at", hours=1)),
    Kind("a clock of another time zone", "plays", later("played_at", hours=-7)),
    Kind("instants of 1970", "plays", put(played_at="1970-01-01T00:00:00+00:00")),
    Kind("instants in another form", "plays", put(played_at="13/14/26 at ten")),
    Kind("no listeners", "plays", put(listener_id=None)),
    Kind("one listener", "plays", put(listener_id="everybody")),
    Kind("no tracks", "plays", put(track_id=None)),
    Kind("tracks of another catalogue", "plays", rows(lambda row, n: row | {"track_id": f"other-{n}"})),
    Kind("one key", "plays", put(play_id="the same")),
    Kind("every row twice", "plays", lambda lines: [*lines, *lines]),
    Kind("every row five times", "plays", lambda lines: list(lines) * 5),
    Kind("names for countries", "plays", put(country="France")),
    Kind("codes of no country", "plays", put(country="XQ")),
    Kind("no countries", "plays", put(country=None)),
    Kind("another country", "plays", put(country="BR")),
    Kind("no platforms", "plays", put(platform=None)),
    Kind("another platform", "plays", put(platform="fridge")),
    Kind("other words for the end", "plays", put(reason_end="ended")),
    Kind("other words for the context", "plays", put(context_type="somewhere")),
    Kind("a required column renamed", "plays", renamed("ms_played")),
    Kind("an optional column renamed", "plays", renamed("country")),
    Kind("half of the lines cut", "plays", lambda lines: [line[: len(line) // 2] if n % 2 else line for n, line in enumerate(lines)]),
    Kind("a tenth of the lines cut", "plays", lambda lines: [line if n % 10 else line[:9] for n, line in enumerate(lines)]),
    Kind("an archive of all days", "plays", lambda lines: [
        json.dumps(json.loads(line) | {"play_id": f"{number}-{copy}"}) for copy in range(_ENDLESS + 5) for number, line in enumerate(lines)
    ]),
    Kind("no rows", "plays", lambda _: []),
    Kind("a fifth of the rows", "plays", lambda lines: lines[: len(lines) // 5]),
    Kind("amounts in cents", "payments", scaled("amount", 100)),
    Kind("negative amounts", "payments", scaled("amount", -1)),
    Kind("no amounts", "payments", put(amount=None)),
    Kind("amount and tax exchanged", "payments", exchanged("amount", "tax_amount")),
    Kind("no currency", "payments", put(currency=None)),
    Kind("codes of no currency", "payments", put(currency="XQQ")),
    Kind("other words for the status", "payments", put(status="paid")),
    Kind("payments without payers", "payments", put(listener_id=None)),
    Kind("payments of next month", "payments", later("paid_at", days=31)),
    Kind("half of the catalogue", "tracks", lambda lines: lines[: len(lines) // 3]),
    Kind("tracks without titles", "tracks", put(title=None)),
    Kind("track lengths in seconds", "tracks", scaled("duration_ms", 0.001)),
    Kind("one key for all tracks", "tracks", put(track_id="the same")),
)  # fmt: skip


def tried(tenant: Tenant, world: World, settings: Settings) -> dict[str, Outcome]:
    """What the night makes of each kind of damage to the last day of a world, whose earlier days are clean and loaded."""
    write_sources(tenant, world, settings.sources_root)
    marks, day = MemoryMarks(), world.days[-1]
    for station in (land, load_bronze, gate_bronze):
        station(tenant, day, settings, marks)
    found: dict[str, Outcome] = {}
    for kind in KINDS:
        (source,) = tenant.sources_of(kind.dataset)
        path = settings.sources_root / source.location.replace("{day}", day.isoformat())
        sound = path.read_text(encoding="utf-8")
        lines = sound.splitlines()
        found[kind.name] = _tried(tenant, world, settings, marks, path, "".join(f"{line}\n" for line in kind.damage(lines)))
        path.write_text(sound, encoding="utf-8")
        for station in (land, load_bronze, gate_bronze):
            station(tenant, day, settings, marks)
        print(f"{kind.name}: {found[kind.name]}", flush=True)
    return found


def _tried(tenant: Tenant, world: World, settings: Settings, marks: MemoryMarks, path: Path, text: str) -> Outcome:
    path.write_text(text, encoding="utf-8")
    told: list[str] = []
    try:
        for station in (land, load_bronze, gate_bronze):
            told += station(tenant, world.days[-1], settings, marks).warnings
    except PermanentError:
        return "stopped"
    return "told" if told else "unseen"


def shares(found: Mapping[str, Outcome]) -> dict[str, float | int | list[str]]:
    """How many kinds, which share of them is stopped, or stopped or told, and which are not seen."""
    stopped = sum(one == "stopped" for one in found.values())
    seen = sum(one != "unseen" for one in found.values())
    return {
        "kinds": len(found),
        "stopped_ratio": round(stopped / len(found), 4),
        "found_ratio": round(seen / len(found), 4),
        "unseen": sorted(name for name, one in found.items() if one == "unseen"),
    }
