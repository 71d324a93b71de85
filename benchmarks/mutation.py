"""What the bronze gate finds of damaged deliveries, and how often it stops or warns for nothing: whole nights of several worlds.

clean_nights, false_stops, false_warnings   undamaged worlds (weekends, growth and outages of some hours are no damage): what was
                                            stopped or warned of by a check of volume, mix or columns
rows_recall                                 43 kinds of damage to the rows of a day, landed, loaded and gated (see `damaged_rows`)
recall, by kind                             deliveries damaged one at a time: stopped (cut off), or stopped or told (all kinds)

A world is written by the simulator, landed, loaded and gated as at night. A damaged delivery is then its own counts with rows taken away or
changed, measured beside the same history by the gate's own code and asked its own checks.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from benchmarks import publish, throwaway_installation
from benchmarks.damaged_rows import shares, tried
from nocturne.bronze import load_bronze
from nocturne.datasets import DATASETS
from nocturne.errors import GateFailed
from nocturne.gates import gate_bronze
from nocturne.gates.checks import Check
from nocturne.gates.measures import Batch, Counts, Measured, Profile, measure
from nocturne.gates.suites import ACCEPTABLE, load_batch_checks, load_suite
from nocturne.landing import land
from nocturne.ledger import MemoryMarks
from nocturne.settings import Settings
from nocturne.simulator import World, WorldParameters, write_sources
from nocturne.tenants import Tenant

CUTS = (0.02, 0.1, 0.25, 0.4, 0.6, 0.8)
SHAPES: Sequence[Mapping[str, object]] = (
    {"listeners": 1_200},
    {"listeners": 300, "existing": 0.3},
    {"listeners": 2_500, "existing": 0.9, "countries": [{"code": c, "share": s, "currency": "EUR"} for c, s in (("FR", 0.7), ("BE", 0.3))]},
)
"""A usual service, a small one that triples, and a steady one in two countries."""


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
    """A tenant that delivers its events day by day and its catalogue whole."""
    events = [name for name in ("plays", "interactions", "ad_impressions", "payments", "subscription_events") if name in world.datasets]
    sources = [{"name": name, "dataset": name, "kind": "files", "location": f"{name}/{{day}}.ndjson"} for name in events]
    sources.append({"name": "tracks", "dataset": "tracks", "kind": "files", "location": "tracks.ndjson"})
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


def clean_nights(tenant: Tenant, world: World, settings: Settings, marks: MemoryMarks) -> list[History]:
    """Land, load and gate all days; raises GateFailed if a clean world is stopped by a check that no history is behind."""
    write_sources(tenant, world, settings.sources_root)
    for station in (land, load_bronze):
        station(tenant, world.days[-1], settings, marks)
    try:
        gate_bronze(tenant, world.days[-1], settings, marks)
    except GateFailed as failure:
        print(failure, flush=True)
    histories = []
    for source in tenant.sources:
        loaded = marks.marks(tenant, "bronze", source.dataset)
        gated = marks.marks(tenant, "gate_bronze", source.dataset)
        batches = sorted((Batch.of(part, mark) for part, mark in loaded.items()), key=lambda batch: batch.received_on)
        profiles = {batch.id: Profile.of(gated[batch.id].facts) if batch.id in gated else Profile() for batch in batches}
        histories.append(History(tenant, source.dataset, batches, profiles, source.is_daily))
    return histories


def counts_of(batch: Batch, profile: Profile) -> Counts:
    """The counts that a profile was made of."""
    values = {column: {value: round(share * batch.rows) for value, share in mix.items()} for column, mix in profile.mixes.items()}
    unknown = None if profile.unknown_tracks is None else round(profile.unknown_tracks * batch.rows)
    filled = {column: round(share * batch.rows) for column, share in profile.filled.items()}
    return Counts(batch.rows, filled, values, unknown, profile.spreads)


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
        unknown = None if counts.unknown_tracks is None else round(counts.unknown_tracks * share)
        return replace(batch, rows=rows), Counts(rows, less, mixes, unknown, counts.spreads)

    return damage


def one_platform_gone(batch: Batch, counts: Counts) -> tuple[Batch, Counts]:
    """The rows of the most used platform are missing."""
    mix = dict(counts.values.get("platform", {}))
    if not mix:
        return batch, counts
    lost = mix.pop(max(mix, key=lambda value: mix[value]))
    left, changed = cut_to(1 - lost / max(1, batch.rows))(batch, counts)
    return left, replace(changed, values={**changed.values, "platform": mix})


def other_tracks(batch: Batch, counts: Counts) -> tuple[Batch, Counts]:
    """A fifth of the rows name tracks of another catalogue."""
    return batch, replace(counts, unknown_tracks=None if counts.unknown_tracks is None else counts.unknown_tracks + batch.rows // 5)


def judged_days(history: History) -> Iterator[tuple[Batch, Counts]]:
    """The batches that have enough history and rows to be judged at all."""
    for batch in history.batches[8:]:
        counts = counts_of(batch, history.profiles[batch.id])
        measured = history.measured(batch, counts, suite_may_be_empty=True)
        if measured.values["rows_to_usual"] is not None and history.profiles[batch.id].filled:
            yield batch, counts


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=6)
    parser.add_argument("--days", type=int, default=120)
    given = parser.parse_args()
    chance = random.Random(1)
    nights = clean = stops = warnings = 0
    hits: dict[str, list[bool]] = {}
    for number in range(given.worlds):
        world = world_of(SHAPES[number % len(SHAPES)], number + 11, given.days)
        tenant = tenant_of(world)
        with throwaway_installation() as settings:
            checks = load_batch_checks(settings.expectations)
            nights += given.days
            for history in clean_nights(tenant, world, settings, MemoryMarks()):
                may_be_empty = load_suite(settings.expectations, history.dataset).may_be_empty
                for batch in history.batches:
                    measured = history.measured(batch, counts_of(batch, history.profiles[batch.id]), may_be_empty)
                    clean += 1
                    for check in checks:
                        if check.columns[0] in ACCEPTABLE and fails(check, measured):
                            print(f"{check.severity}: {history.dataset} {batch.id}: {measured.observed(check.columns[0])}", flush=True)
                            stops, warnings = stops + (check.severity == "stop"), warnings + (check.severity == "warn")
                days = list(judged_days(history))
                for batch, counts in chance.sample(days, min(30, len(days))):
                    for share in CUTS:
                        damaged = history.measured(*cut_to(share)(batch, counts), may_be_empty)
                        hits.setdefault(f"stopped_cut_to_{round(share * 100)}_percent", []).append(found(checks, damaged, "stop"))
                        hits.setdefault(f"told_cut_to_{round(share * 100)}_percent", []).append(found(checks, damaged, "stop", "warn"))
                    if "platform" in counts.values:
                        damaged = history.measured(*one_platform_gone(batch, counts), may_be_empty)
                        hits.setdefault("told_platform_gone", []).append(found(checks, damaged, "stop", "warn"))
                    if counts.unknown_tracks is not None:
                        damaged = history.measured(*other_tracks(batch, counts), may_be_empty)
                        hits.setdefault("told_other_tracks", []).append(found(checks, damaged, "stop", "warn"))
    with throwaway_installation() as settings:
        world = world_of(SHAPES[0], 11, 45)
        damaged_rows = shares(tried(tenant_of(world), world, settings))
    recall = {f"{kind}_ratio": round(sum(found) / len(found), 4) for kind, found in hits.items()}
    publish(
        "mutation",
        params={"worlds": given.worlds, "days": given.days},
        results={
            "kinds": len(hits),
            "clean_nights": nights,
            "clean_batches": clean,
            "false_stops": stops,
            "false_warnings": warnings,
            "damaged_batches": sum(map(len, hits.values())),
            "recall": recall,
            "rows_recall": damaged_rows,
        },
    )


if __name__ == "__main__":
    main()
