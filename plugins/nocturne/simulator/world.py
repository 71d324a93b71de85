"""One seeded world: what is true in it, and what its sources deliver on each day.

    world = World(WorldParameters(seed=7, days=30, listeners=500))
    world.events("plays", day)        what happened on that event date, each row once, as it truly was
    world.reference("plans", day)     what stood on that day
    world.delivered("plays", day)     what arrives on that received day: late, repeated, corrected and broken rows among it
    world.table("payments")           everything that is true, over all days

Tables have the catalogue's own columns (`nocturne.datasets`). Any day can be asked for in any order; memory holds a day of plays at a
time. In a world with subscriptions the first question lives through all days once, without keeping their plays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.datasets import DATASETS
from nocturne.simulator.activity import Activity
from nocturne.simulator.business import STATEMENT_DAYS, Business, Received
from nocturne.simulator.catalogue import Catalogue
from nocturne.simulator.clock import Clock
from nocturne.simulator.columns import hexadecimal, plain, table
from nocturne.simulator.damage import FLAWS, Flaw, broken, corrections, draw, renumbered
from nocturne.simulator.listening import Block, Listening
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.people import People
from nocturne.simulator.randomness import Ints, dice
from nocturne.simulator.reference import Reference
from nocturne.simulator.subscriptions import RUN_IN, Lives, Subscriptions

LATEST = 10
"""Days after which nothing that was played offline is delivered any more."""
COUNTS = ("first", "late", "repeated", "corrected", *FLAWS)
"""What a delivered row can be: new and on time, new and late, known already with the same or with another content, or broken."""
_OF_ACCOUNTS = frozenset({"subscription_events", "payments", "exposures", "plans"})
_REPEATED = frozenset({"subscription_events", "payments", "interactions"})


@dataclass(frozen=True)
class Delivery:
    """What one source brings on one received day: `rows` that can be taken, `broken` ones by their flaw, `counts` of rows by `COUNTS`."""

    rows: pa.Table
    counts: Mapping[str, int]
    broken: Mapping[Flaw, pa.Table] = field(default_factory=dict)

    def __len__(self) -> int:
        """Rows, whatever their state."""
        return len(self.rows) + sum(len(rows) for rows in self.broken.values())


class World:
    """One world; see the module."""

    def __init__(self, parameters: WorldParameters) -> None:
        self.parameters = parameters
        self.clock = Clock(parameters)
        self.catalogue = Catalogue(parameters, self.clock)
        self.people = People(parameters, self.clock, self.catalogue)
        self.listening = Listening(parameters, self.clock, self.catalogue, self.people)
        self.registers = Reference(parameters, self.clock, self.catalogue, self.people)
        self.business = Business(parameters, self.clock, self.catalogue, self.people, self.registers)
        activity = Activity(parameters, self.clock, self.people, self.registers)
        self._plays = activity.plays
        self._by_day: Mapping[str, Callable[[int], pa.Table]] = {
            "plays": lambda day: activity.plays(self.heard(day)),
            "interactions": lambda day: activity.interactions(self.heard(day), day),
            "ad_impressions": lambda day: activity.ad_impressions(self.heard(day), day),
            "sales": self.business.sales,
            "chart_entries": self.business.chart_entries,
            "statements": self._statements,
        }
        self._whole: Mapping[str, Callable[[], Received]] = {
            "playlist_tracks": self.business.playlist_tracks,
            "touchpoints": self.business.touchpoints,
            "subscription_events": lambda: self.business.subscription_events(self.lives),
            "payments": lambda: self.business.payments(self.lives),
            "exposures": lambda: self.business.exposures(self.lives),
        }
        self.heard = lru_cache(maxsize=3)(self._hear)
        self._late = lru_cache(maxsize=LATEST + 2)(self._hear_late)
        self._received: dict[str, Received] = {}
        self._sent_again: dict[int, tuple[Block, Block]] = {}

    # what there is -------------------------------------------------------------------------------------------------------
    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that this world can deliver, in the catalogue's order."""
        made = {*self._by_day, *self._whole, *self.registers.datasets}
        return tuple(name for name in DATASETS if name in made and (self.parameters.has_subscriptions or name not in _OF_ACCOUNTS))

    @property
    def days(self) -> tuple[date, ...]:
        """All its days."""
        return tuple(self.parameters.begins_on + timedelta(days=n) for n in range(self.parameters.days))

    @cached_property
    def lives(self) -> Lives:
        """What became of the subscriptions. Raises ValueError in a world without them."""
        if not self.parameters.has_subscriptions:
            raise ValueError("this world has no subscriptions")
        return Subscriptions(self.parameters, self.clock, self.people, self.listening).live()

    def prepare(self) -> None:
        """Make now what all days need, so that several threads can ask for days afterwards."""
        if self.parameters.has_subscriptions:
            assert self.lives.tier.size  # noqa: S101 - the property is the work
        for dataset in self.registers.datasets:
            if dataset in self.datasets:
                self.registers.standing(dataset)

    def tier(self, day: int) -> Ints:
        """The tier of each listener on a day: -1 for those who are not there."""
        if self.parameters.has_subscriptions:
            tier: Ints = self.lives.tier[day + RUN_IN].astype(np.int64)
            return tier
        return np.where(self.people.is_there(day), 0, -1)

    # the truth -----------------------------------------------------------------------------------------------------------
    def events(self, dataset: str, on: date) -> pa.Table:
        """The true rows of an event dataset whose event date is `on`, plain, if they are delivered within the world at all.

        Raises KeyError for a dataset that the world does not have.
        """
        self._check(dataset, "event")
        day = self.clock.number_of(on)
        if dataset == "plays":
            return plain(dataset, self._plays(self.played(day)))
        if dataset in self._whole:
            rows = plain(dataset, self._of(dataset).rows)
        else:
            last = {"statements": STATEMENT_DAYS, "interactions": LATEST + 1, "ad_impressions": LATEST + 1}.get(dataset, 0)
            received = range(max(0, day), min(self.parameters.days, day + last + 1))
            rows = pa.concat_tables([table(dataset, 0, {}), *(plain(dataset, self._true(dataset, n)) for n in received)])
        instant = rows[DATASETS[dataset].instant]
        if pa.types.is_date(instant.type):
            return rows.filter(pc.equal(instant, pa.scalar(on)))
        return rows.filter(pa.array(self.clock.day_of(instant.cast(pa.int64()).to_numpy() // 1000) == day))

    def played(self, day: int) -> Block:
        """The true plays whose event date is day number `day`, whenever they are delivered within the world."""
        blocks = []
        for received in range(max(0, day), min(self.parameters.days, day + LATEST + 2)):
            block = self._late(received) if received > day + 1 else self.heard(received)
            blocks.append(block.take(self.clock.day_of(block.at_ms) == day))
        return Block.joined(blocks)

    def reference(self, dataset: str, as_of: date) -> pa.Table:
        """What a reference dataset held on a day, plain. Raises KeyError for a dataset that the world does not have."""
        self._check(dataset, "reference")
        return plain(dataset, self.registers.standing(dataset).as_of(self.clock.number_of(as_of), self.clock))

    def table(self, dataset: str) -> pa.Table:
        """Everything that is true, plain: all events of all days, or the reference dataset as it stands on the last day."""
        self._check(dataset)
        if DATASETS[dataset].kind == "reference":
            return self.reference(dataset, self.parameters.last_day)
        return pa.concat_tables([plain(dataset, self._true(dataset, n)) for n in range(self.parameters.days)]).combine_chunks()

    # deliveries ----------------------------------------------------------------------------------------------------------
    def delivered(self, dataset: str, on: date) -> Delivery:
        """What arrives on a received day: of reference datasets what changed that day (on the first day all that stands).

        Columns may be dictionaries (`columns.plain` makes them plain). Raises KeyError for a dataset that the world does not have.
        """
        self._check(dataset)
        day = self.clock.number_of(on)
        if not 0 <= day < self.parameters.days:
            return _whole(table(dataset, 0, {}))
        if dataset == "plays":
            return self._delivered_plays(day)
        if DATASETS[dataset].kind == "reference":
            return _whole(self.registers.standing(dataset).changed(day, self.clock))
        rows = self._true(dataset, day)
        if dataset not in _REPEATED or day == 0:
            return _whole(rows)
        before = self._true(dataset, day - 1)
        again = dice(self.parameters.seed, "again", dataset, day).random(len(before)) < self.parameters.damage.repeated
        return _whole(rows, before.filter(pa.array(again)))

    def deliveries(self, dataset: str) -> Iterator[tuple[date, Delivery]]:
        """All deliveries of a dataset in the order of their days."""
        for on in self.days:
            yield on, self.delivered(dataset, on)

    # plays ---------------------------------------------------------------------------------------------------------------
    def _hear(self, day: int) -> Block:
        """The plays that a received day brings for the first time."""
        return self._kept(Block.joined(self._blocks(day)), day)

    def _hear_late(self, day: int) -> Block:
        """Of these, what was played on earlier days without a connection."""
        return self._kept(self.listening.late(day, self.tier(day)), day)

    def _blocks(self, day: int) -> list[Block]:
        tier = self.tier(day)
        blocks = self.listening.on_time(day, tier), self.listening.late(day, tier), self.listening.bots(day)
        return [block for block in blocks if block is not None]

    def _kept(self, block: Block, day: int) -> Block:
        """Without what fell into an outage."""
        return block.take(~self.listening.lost(block)) if self.listening.touches_outage(day) else block

    def lost_plays(self) -> list[int]:
        """How many plays fell into each outage that would have been delivered within the world."""
        lost = [0] * len(self.parameters.events.outages)
        for number, (begins, ends) in enumerate(self.listening.outages):
            first = int(self.clock.day_of(np.array(begins)))
            for day in range(max(0, first), min(self.parameters.days, first + LATEST + 3)):
                for block in self._blocks(day):
                    lost[number] += int(((begins <= block.at_ms) & (block.at_ms < ends)).sum())
        return lost

    def expected_plays(self, day: int) -> float:
        """The mean of the plays that a received day brings for the first time, over all worlds in which the same listeners are there."""
        return self.listening.expected(day, self.tier(day))

    def play_ids(self, block: Block) -> list[str]:
        """The identifiers of a block's plays."""
        return hexadecimal(block.number).to_pylist()  # type: ignore[no-any-return]

    def sent_again(self, day: int) -> tuple[Block, Block]:
        """(repeated, corrected) plays of a received day, as the next delivery brings them again."""
        if day < 0:
            nothing = self.heard(0).take(np.empty(0, np.int64))
            return nothing, nothing
        known = self._sent_again.get(day)
        if known is None:
            block = self.heard(day)
            drawn = draw(self.parameters.damage, self.parameters.seed, day, len(block))
            known = block.take(drawn.again).alone(), corrections(block.take(drawn.corrected)).alone()
            if len(self._sent_again) > 8:
                self._sent_again.clear()
            self._sent_again[day] = known
        return known

    def _delivered_plays(self, day: int) -> Delivery:
        again, corrected = self.sent_again(day - 1)  # before this day is made: then the next day finds this one still at hand
        block = self.heard(day)
        drawn = draw(self.parameters.damage, self.parameters.seed, day, len(block))
        self.sent_again(day)
        twice = block.take(drawn.twice).alone()
        flawed = {
            flaw: broken(self._plays(renumbered(block.take(rows).alone(), day, flaw)), flaw)
            for flaw, rows in drawn.broken.items()
            if len(rows)
        }
        late = int(np.count_nonzero(block.session_offline[block.session]))
        counts = {"first": len(block) - late, "late": late, "repeated": len(twice) + len(again), "corrected": len(corrected)}
        counts |= {flaw: len(rows) for flaw, rows in flawed.items()}
        tables = [self._plays(part) for part in (block, twice, again, corrected) if len(part)]
        rows = pa.concat_tables(tables) if tables else table("plays", 0, {})
        return Delivery(rows, {name: counts.get(name, 0) for name in COUNTS}, flawed)

    # the rest ------------------------------------------------------------------------------------------------------------
    def _true(self, dataset: str, day: int) -> pa.Table:
        """The rows of an event dataset that a day brings for the first time."""
        return self._by_day[dataset](day) if dataset in self._by_day else self._of(dataset).on(day)

    def _of(self, dataset: str) -> Received:
        if dataset not in self._received:
            self._received[dataset] = self._whole[dataset]()
        return self._received[dataset]

    def _statements(self, day: int) -> pa.Table:
        ends_on = self.business.statement_month(day)
        if ends_on is None:
            return table("statements", 0, {})
        last = self.clock.number_of(ends_on)
        return self.business.statements(ends_on, self.monthly_streams(last - ends_on.day + 1, last))

    def monthly_streams(self, first: int, last: int) -> Ints:
        """Streams of at least 30 s by track, country and platform over these days (both inclusive)."""
        sizes = len(self.catalogue.track_artist), len(self.parameters.countries), len(self.parameters.platforms)
        counts = np.zeros(sizes, np.int64)
        for day in range(first, last + 1):
            block = self.played(day)
            block = block.take(block.ms_played >= 30_000)
            place = block.track, self.people.country[block.listener], block.session_platform[block.session]
            counts += np.bincount(np.ravel_multi_index(place, sizes), minlength=counts.size).reshape(sizes)
        return counts

    def _check(self, dataset: str, kind: str | None = None) -> None:
        if dataset not in self.datasets or kind not in (None, DATASETS[dataset].kind):
            raise KeyError(f"this world has no {kind or ''} dataset {dataset!r}; it has {', '.join(self.datasets)}")


def _whole(rows: pa.Table, again: pa.Table | None = None) -> Delivery:
    repeated = 0 if again is None else len(again)
    counts = dict.fromkeys(COUNTS, 0) | {"first": len(rows), "repeated": repeated}
    return Delivery(pa.concat_tables([rows, again]) if again is not None and repeated else rows, counts)


def small_world(seed: int = 1, days: int = 14, listeners: int = 150, **more: object) -> World:
    """A world of some thousand plays that is there in a fraction of a second, for tests; `more` are WorldParameters."""
    values = {"artists": 40, "tracks": 240, "holders": 4} | more
    return World(WorldParameters.model_validate({"seed": seed, "days": days, "listeners": listeners} | values))
