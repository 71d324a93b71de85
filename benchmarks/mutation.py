"""What the gates find of damage, and how often they stop or warn for nothing: whole nights of several worlds.

kinds, recall               kinds of damage to a delivery's rows and to a build (see `damages`), and the share of them that was stopped, or,
                            where the rows may be right, stopped or told; `missed` names the others
clean_nights, false_stops   undamaged worlds (weekends, growth and outages of some hours are no damage) from their files to the gate of the
                            marts, every day asked: what was stopped, or warned of by a check of volume, mix or columns
cuts                        deliveries cut off, one at a time, down to sources of some twenty rows: the share stopped, or stopped or told
cuts_of_200_rows_and_more   the same, of those with so many rows before they were cut

A world is written by the simulator and taken through the night's own stations. A cut delivery is its own counts with rows taken away,
measured beside the same history by the gate's own code and asked its own checks.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from benchmarks import publish, start_database, throwaway_installation
from benchmarks.damages import BUILDING, BUILDS, KINDS, LANDING, Trial, Tried
from nocturne.datasets import DATASETS
from nocturne.errors import GateFailed
from nocturne.gates import gate_marts
from nocturne.gates.checks import Check
from nocturne.gates.comparison import Measured, measure
from nocturne.gates.measures import Batch, Counts, Profile
from nocturne.gates.suites import ACCEPTABLE, load_batch_checks, load_suite
from nocturne.ledger import MemoryMarks
from nocturne.settings import Settings
from nocturne.simulator import World, WorldParameters, write_sources
from nocturne.tenants import Tenant

CUTS = (0.02, 0.1, 0.25, 0.4, 0.6, 0.8)
LARGE = 200
SHAPES: Sequence[Mapping[str, object]] = (
    {"listeners": 1_200},
    {"listeners": 300, "existing": 0.3},
    {"listeners": 2_500, "existing": 0.9, "countries": [{"code": c, "share": s, "currency": "EUR"} for c, s in (("FR", 0.7), ("BE", 0.3))]},
)
"""A usual service, a small one that triples, and a steady one in two countries."""
HELD = (
    *("plays", "interactions", "ad_impressions", "payments", "subscription_events"),
    *("tracks", "artists", "listeners", "plans", "fx_rates"),
)
FOREIGN = {"seed": 99, "listeners": 1_200, "track_prefix": "o", "listener_prefix": "v"}


@dataclass(frozen=True)
class History:
    """The batches of one source as the gate knows them."""

    tenant: Tenant
    dataset: str
    batches: Sequence[Batch]
    profiles: Mapping[str, Profile]
    is_daily: bool

    def measured(self, batch: Batch, counts: Counts, suite_may_be_empty: bool) -> Measured:
        """A batch beside those before it."""
        earlier = [one for one in self.batches if one.received_on < batch.received_on]
        dataset = DATASETS[self.dataset]
        return measure(
            batch,
            counts,
            earlier,
            [self.profiles[one.id] for one in earlier if self.profiles[one.id].filled],
            required=[column.name for column in dataset.columns if column.required],
            is_daily=self.is_daily,
            may_be_empty=suite_may_be_empty or (self.is_daily and dataset.kind == "reference"),
        )


def world_of(shape: Mapping[str, object], seed: int, days: int) -> World:
    """A world with outages of some hours, which are no damage."""
    begins_on = WorldParameters().begins_on
    hours = ((18, 22), (0, 9), (19, 21))
    outages = [
        {"happens_on": begins_on + timedelta(days=days * (2 + number) // 6), "from_hour": begin, "to_hour": end}
        for number, (begin, end) in enumerate(hours)
    ]
    return World(WorldParameters.model_validate({**shape, "seed": seed, "days": days, "events": {"outages": outages}}))


def tenant_of(world: World) -> Tenant:
    """A tenant that delivers its events day by day, and its registers whole."""
    sources = [
        {
            "name": name,
            "dataset": name,
            "kind": "files",
            "location": f"{name}/{{day}}.ndjson" if DATASETS[name].kind == "event" else f"{name}.ndjson",
        }
        for name in HELD
        if name in world.datasets
    ]
    parameters = world.parameters
    told = {"time_zone": parameters.time_zone, "currency": parameters.currency, "begins_on": parameters.begins_on}
    return Tenant.model_validate({"slug": "mutation", "name": "Mutation", **told, "sources": sources})


def fails(check: Check, measured: Measured) -> bool:
    """Whether a batch fails a check of bounds, which is all that every batch is asked."""
    value = measured.values[check.columns[0]]
    if value is None:
        return False
    return value < check.kwargs.get("min_value", value) or value > check.kwargs.get("max_value", value)


def found(checks: Sequence[Check], measured: Measured, *severities: str) -> bool:
    """Whether a check of these severities finds something."""
    return any(fails(check, measured) for check in checks if check.severity in severities and check.columns[0] in ACCEPTABLE)


@dataclass(frozen=True)
class Clean:
    """What came of a clean world: what each source's history is, and what the gates said."""

    histories: Sequence[History]
    stops: int
    warnings: int


def clean_nights(tenant: Tenant, world: World, settings: Settings, marks: MemoryMarks) -> Clean:
    """Take all days of a world through the night, up to the gate of the marts, which is asked all their rows."""
    write_sources(tenant, world, settings.sources_root)
    stops = warnings = 0
    for station in (*LANDING, *BUILDING):
        try:
            receipt = station(tenant, world.days[-1], settings, marks)
        except GateFailed as failure:
            print(failure, flush=True)
            stops += station is gate_marts  # what the first gate stops is counted batch by batch
            break
        if station is gate_marts:
            warnings += len(receipt.warnings)
            print(*receipt.warnings, sep="\n", flush=True)
    histories = []
    for source in tenant.sources:
        loaded = marks.marks(tenant, "bronze", source.dataset)
        gated = marks.marks(tenant, "gate_bronze", source.dataset)
        batches = sorted((Batch.of(part, mark) for part, mark in loaded.items()), key=lambda batch: batch.received_on)
        profiles = {batch.id: Profile.of(gated[batch.id].facts) if batch.id in gated else Profile() for batch in batches}
        histories.append(History(tenant, source.dataset, batches, profiles, source.is_daily))
    return Clean(histories, stops, warnings)


def counts_of(batch: Batch, profile: Profile) -> Counts:
    """The counts that a profile was made of."""
    values = {column: {value: round(share * batch.rows) for value, share in mix.items()} for column, mix in profile.mixes.items()}
    unknown = {column: round(share * batch.rows) for column, share in profile.unknown.items()}
    filled = {column: round(share * batch.rows) for column, share in profile.filled.items()}
    return Counts(batch.rows, filled, values, unknown, profile.spreads, profile.crowds)


Damage = Callable[[Batch, Counts], tuple[Batch, Counts]]


def cut_to(share: float) -> Damage:
    """Only the first part of the rows came."""

    def damage(batch: Batch, counts: Counts) -> tuple[Batch, Counts]:
        less = {column: round(count * share) for column, count in counts.filled.items()}
        mixes = {
            column: {value: round(count * share) for value, count in mix.items() if round(count * share)}
            for column, mix in counts.values.items()
        }
        rows = round(batch.rows * share)
        unknown = {column: round(count * share) for column, count in counts.unknown.items()}
        return replace(batch, rows=rows), Counts(rows, less, mixes, unknown, counts.spreads, counts.crowds)

    return damage


def one_platform_gone(batch: Batch, counts: Counts) -> tuple[Batch, Counts]:
    """The rows of the most used platform are missing."""
    mix = dict(counts.values.get("platform", {}))
    if not mix:
        return batch, counts
    lost = mix.pop(max(mix, key=lambda value: mix[value]))
    left, changed = cut_to(1 - lost / max(1, batch.rows))(batch, counts)
    return left, replace(changed, values={**changed.values, "platform": mix})


def judged_days(history: History) -> Iterator[tuple[Batch, Counts]]:
    """The batches that have enough history and rows to be judged at all."""
    for batch in history.batches[8:]:
        counts = counts_of(batch, history.profiles[batch.id])
        measured = history.measured(batch, counts, suite_may_be_empty=True)
        if measured.values["rows_to_usual"] is not None and history.profiles[batch.id].filled:
            yield batch, counts


@dataclass
class Tally:
    """What was found in clean worlds, and of their deliveries cut off."""

    nights: int = 0
    batches: int = 0
    stops: int = 0
    warnings: int = 0

    def __post_init__(self) -> None:
        """Nothing was cut yet."""
        self.hits: dict[str, list[bool]] = {}
        self.larger_hits: dict[str, list[bool]] = {}

    def world(self, world: World, chance: random.Random) -> None:
        """Take a clean world through its nights, then cut some of its deliveries."""
        tenant = tenant_of(world)
        with throwaway_installation() as settings:
            start_database(settings, tenant)
            checks = load_batch_checks(settings.expectations)
            clean = clean_nights(tenant, world, settings, MemoryMarks())
            self.nights, self.stops, self.warnings = self.nights + len(world.days), self.stops + clean.stops, self.warnings + clean.warnings
            for history in clean.histories:
                may_be_empty = load_suite(settings.expectations, history.dataset).may_be_empty
                self._clean_batches(history, checks, may_be_empty=may_be_empty)
                self._cuts(history, checks, chance, may_be_empty=may_be_empty)

    def _clean_batches(self, history: History, checks: Sequence[Check], *, may_be_empty: bool) -> None:
        for batch in history.batches:
            measured = history.measured(batch, counts_of(batch, history.profiles[batch.id]), may_be_empty)
            self.batches += 1
            for check in checks:
                if check.columns[0] in ACCEPTABLE and fails(check, measured):
                    print(f"{check.severity}: {history.dataset} {batch.id}: {measured.observed(check.columns[0])}", flush=True)
                    self.stops += check.severity == "stop"
                    self.warnings += check.severity == "warn"

    def _cuts(self, history: History, checks: Sequence[Check], chance: random.Random, *, may_be_empty: bool) -> None:
        days = list(judged_days(history))
        damages = {f"cut_to_{round(share * 100)}_percent": cut_to(share) for share in CUTS} | {"platform_gone": one_platform_gone}
        for batch, counts in chance.sample(days, min(30, len(days))):
            for name, damage in damages.items():
                if name == "platform_gone" and "platform" not in counts.values:
                    continue
                damaged = history.measured(*damage(batch, counts), may_be_empty)
                for hits in (self.hits, self.larger_hits) if batch.rows >= LARGE else (self.hits,):
                    hits.setdefault(f"stopped_{name}", []).append(found(checks, damaged, "stop"))
                    hits.setdefault(f"told_{name}", []).append(found(checks, damaged, "stop", "warn"))


def ratios(hits: Mapping[str, Sequence[bool]]) -> dict[str, float]:
    """The share of each that was found."""
    return {f"{kind}_ratio": round(sum(found) / len(found), 4) for kind, found in hits.items()}


def all_kinds(days: int) -> list[Tried]:
    """Every kind of damage to the last day of a service of some 5,000 plays a day, and to its build; prints the table."""
    world = world_of(SHAPES[2], 11, days)
    foreign = World(WorldParameters.model_validate({**FOREIGN, "days": days}))
    tenant = tenant_of(world)
    with throwaway_installation() as settings:
        start_database(settings, tenant)
        trial = Trial(tenant, world, foreign, settings, builds=True)
        tried = [*(trial.build(name) for name in BUILDS), *(trial.rows(kind) for kind in KINDS)]
    for one in tried:
        print(f"{'met ' if one.is_met else 'MISSED'}  {one.name:45} demands {one.demands:5} {one.outcome}", flush=True)
    return tried


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=6)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--damaged-days", type=int, default=45)
    given = parser.parse_args()
    tried = all_kinds(given.damaged_days)
    chance, tally = random.Random(1), Tally()
    for number in range(given.worlds):
        tally.world(world_of(SHAPES[number % len(SHAPES)], number + 11, given.days), chance)
    publish(
        "mutation",
        params={"worlds": given.worlds, "days": given.days, "damaged_days": given.damaged_days},
        results={
            "kinds": len(tried),
            "recall": round(sum(one.is_met for one in tried) / len(tried), 4),
            "stopped_ratio": round(sum(one.outcome == "stopped" for one in tried) / len(tried), 4),
            "missed": [one.name for one in tried if not one.is_met],
            "clean_nights": tally.nights,
            "clean_batches": tally.batches,
            "false_stops": tally.stops,
            "false_warnings": tally.warnings,
            "cuts": ratios(tally.hits),
            "cuts_of_200_rows_and_more": ratios(tally.larger_hits),
        },
    )


if __name__ == "__main__":
    main()
