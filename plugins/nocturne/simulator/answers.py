"""The answer sheet of a world: what is true in it, in exact numbers, so that marts, gates, models and insights can be held against it.

    python -m nocturne.simulator.answers <slug> > answers.json

Everything is computed from the world itself, not from what was intended: planted events with identifiers, days and counts; deliveries by
what their rows are; plays by event date; and for models the best score that is possible with what can be observed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from nocturne.simulator.listening import Block
from nocturne.simulator.parameters import demo_worlds
from nocturne.simulator.randomness import Flags, Floats, Ints, sigmoid
from nocturne.simulator.sounds import genre_posterior
from nocturne.simulator.subscriptions import (
    COMES_BACK,
    EARLIER_DAYS,
    END_REASONS,
    EVENTS,
    FAILURE,
    IS_SKIP,
    OPENING,
    RECENT_DAYS,
    RECOVERS,
    RUN_IN,
    Rows,
    cancel_logit,
    price_rose,
    undecided,
)
from nocturne.simulator.world import COUNTS, World

GRACE_DAYS = 30
HORIZON_DAYS = 31


def answers(world: World) -> dict[str, Any]:
    """The whole sheet, as what JSON can hold. Reads nothing, writes nothing; goes through all plays of the world two or three times."""
    sheet: dict[str, Any] = {
        "world": world.parameters.model_dump(mode="json"),
        "deliveries": _deliveries(world),
        "plays_by_event_date": _plays(world),
        "expected_plays_by_received_date": {str(on): round(world.expected_plays(n), 2) for n, on in enumerate(world.days)},
        "corrected": _corrected(world),
        "events": {
            "hits": _hits(world),
            "outages": _outages(world),
            "bot_farms": _bot_farms(world),
            "price_changes": _price_changes(world),
            "experiments": experiment_answers(world),
            "rights_transfers": _rights_transfers(world),
            "shortfalls": _shortfalls(world),
        },
        "genre": _genre(world),
    }
    if world.parameters.has_subscriptions:
        sheet["churn"] = _churn(world)
    return sheet


def write_answers(world: World, path: Path) -> None:
    """Write the sheet as JSON, whole or not at all; a re-run writes the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fresh.write_text(json.dumps(answers(world), indent=1, sort_keys=True) + "\n")
    fresh.replace(path)


# deliveries ------------------------------------------------------------------------------------------------------------------
def _deliveries(world: World) -> dict[str, Any]:
    """By dataset: the rows of every received day, and of all days together by what they are."""
    sheet = {}
    for dataset in world.datasets:
        counts = {str(on): delivery.counts for on, delivery in world.deliveries(dataset)}
        total = {kind: sum(of_day[kind] for of_day in counts.values()) for kind in COUNTS}
        by_day = {on: {kind: number for kind, number in of_day.items() if number} for on, of_day in counts.items() if sum(of_day.values())}
        sheet[dataset] = {"rows": sum(total.values()), "counts": total, "by_received_date": by_day}
    return sheet


def _plays(world: World) -> dict[str, dict[str, int]]:
    """By event date, from the first delivery: attempts, streams of at least 30 s, skips, and distinct listeners of those streams."""
    sheet = {}
    for day in range(-1, world.parameters.days):
        block = world.played(day)
        if len(block):
            streams = block.ms_played >= 30_000
            sheet[str(world.clock.date_of(day))] = {
                "attempts": len(block),
                "plays": int((block.ms_played > 0).sum()),
                "streams": int(streams.sum()),
                "skips": int((IS_SKIP[block.reason] & (block.ms_played > 0)).sum()),
                "listeners": len(np.unique(block.listener[streams])),
                "ms_played": int(block.ms_played.sum()),
            }
    return sheet


def _corrected(world: World) -> dict[str, int]:
    """The duration that is right in the end, by play."""
    right: dict[str, int] = {}
    for day in range(world.parameters.days - 1):
        _, again = world.sent_again(day)
        right |= dict(zip(world.play_ids(again), again.ms_played.tolist(), strict=True))
    return right


# events ----------------------------------------------------------------------------------------------------------------------
def _hits(world: World) -> list[dict[str, Any]]:
    sheet = []
    for hit, track in zip(world.parameters.events.hits, world.catalogue.hit_tracks, strict=True):
        plays = {world.clock.date_of(day): _count(world.played(day), track) for day in range(world.parameters.days)}
        before = [number for on, number in plays.items() if on < hit.happens_on][-28:]
        sheet.append(
            {
                "track_id": world.registers.track_ids[track].as_py(),
                "artist_id": world.registers.artist_ids[int(world.catalogue.track_artist[track])].as_py(),
                "happens_on": str(hit.happens_on),
                "plays_a_day_before": round(sum(before) / max(1, len(before)), 3),
                "plays_by_event_date": {str(on): number for on, number in plays.items()},
            }
        )
    return sheet


def _count(block: Block, track: int) -> int:
    return int((block.track == track).sum())


def _outages(world: World) -> list[dict[str, Any]]:
    """What was lost of each outage: plays that would have been delivered, on whatever day."""
    lost = world.lost_plays()
    return [
        outage.model_dump(mode="json") | {"lost_plays": number}
        for outage, number in zip(world.parameters.events.outages, lost, strict=True)
    ]


def _bot_farms(world: World) -> list[dict[str, Any]]:
    sheet = []
    for number, farm in enumerate(world.parameters.events.bot_farms):
        who = np.flatnonzero(world.people.farm == number)
        artist = world.catalogue.bot_artists[number]
        plays = {str(on): int(np.isin(world.played(n).listener, who).sum()) for n, on in enumerate(world.days)}
        sheet.append(
            farm.model_dump(mode="json")
            | {
                "listener_ids": world.registers.listener_ids.take(who).to_pylist(),
                "artist_id": world.registers.artist_ids[artist].as_py(),
                "track_ids": world.registers.track_ids.take(world.catalogue.tracks_of(artist)).to_pylist(),
                "plays_by_event_date": {on: count for on, count in plays.items() if count},
            }
        )
    return sheet


def _price_changes(world: World) -> list[dict[str, Any]]:
    """Each change with the prices of every country before and after, in its currency."""
    plans = [plan.plan_id for plan in world.parameters.plans]
    sheet = []
    for day, change in world.business.prices.changes:
        before, after = (world.business.prices.on(n)[plans.index(change.plan_id)] for n in (day - 1, day))
        prices = {
            country.code: {"currency": country.currency, "before": float(before[n]), "after": float(after[n])}
            for n, country in enumerate(world.parameters.countries)
        }
        sheet.append(change.model_dump(mode="json") | {"prices": prices})
    return sheet if world.parameters.has_subscriptions else []


def experiment_answers(world: World) -> list[dict[str, Any]]:
    """Each experiment with exposures and conversions by variant, and the true effect: the mean difference of probability of its trials."""
    if not world.parameters.has_subscriptions:
        return []
    lives, sheet = world.lives, []
    for number, experiment in enumerate(world.parameters.events.experiments):
        trials = lives.experiment[lives.conversions["listener"]] == number
        treated, converts = lives.conversions["treated"][trials], lives.conversions["converts"][trials]
        logit = np.log(lives.convert_probability[trials] / (1 - lives.convert_probability[trials])) - treated * experiment.effect
        sheet.append(
            experiment.model_dump(mode="json")
            | {
                "exposed": {name: int(((lives.experiment == number) & (lives.variant == n)).sum()) for n, name in enumerate(VARIANTS)},
                "trials_ended": {name: int((treated == n).sum()) for n, name in enumerate(VARIANTS)},
                "converted": {name: int(converts[treated == n].sum()) for n, name in enumerate(VARIANTS)},
                "true_difference": round(float((sigmoid(logit + experiment.effect) - sigmoid(logit)).mean()), 6) if trials.any() else None,
            }
        )
    return sheet


VARIANTS = ("control", "treatment")


def _rights_transfers(world: World) -> list[dict[str, Any]]:
    rights = world.registers.standing("rights")
    sheet = []
    for number, transfer in enumerate(world.parameters.events.rights_transfers):
        closed = rights.closes == world.clock.number_of(transfer.happens_on)
        sheet.append(
            {
                "happens_on": str(transfer.happens_on),
                "artist_id": world.registers.artist_ids[world.registers.transferred_artist(number)].as_py(),
                "track_ids": sorted(set(rights.rows["track_id"].filter(closed).to_pylist())),
                "from_holder_ids": sorted(set(rights.rows["holder_id"].filter(closed).to_pylist())),
                "to_holder_id": f"h{world.registers.transferred_to(number):03d}",
            }
        )
    return sheet


def _shortfalls(world: World) -> list[dict[str, Any]]:
    """Each statement that tells too little of a track: streams by country as they were and as they are told."""
    sheet = []
    platforms = list(world.parameters.platforms)
    for number, shortfall in enumerate(world.parameters.events.shortfalls):
        last = world.clock.number_of(shortfall.period_ends_on)
        track = world.business.short_track(number)
        true = world.monthly_streams(last - shortfall.period_ends_on.day + 1, last)[track, :, platforms.index(shortfall.service)]
        told = np.floor(true * shortfall.ratio).astype(np.int64)
        sheet.append(
            shortfall.model_dump(mode="json")
            | {
                "statement_id": f"{shortfall.service}-{shortfall.period_ends_on:%Y%m}",
                "track_id": world.registers.track_ids[track].as_py(),
                "streams": {country.code: int(true[n]) for n, country in enumerate(world.parameters.countries) if true[n]},
                "told": {country.code: int(told[n]) for n, country in enumerate(world.parameters.countries) if true[n]},
            }
        )
    return sheet


# models ----------------------------------------------------------------------------------------------------------------------
def _genre(world: World) -> dict[str, Any]:
    """The genres that the source does not know, and how often the best guess from the sound alone is right."""
    catalogue = world.catalogue
    names = np.array(catalogue.genres)
    priors = np.maximum(np.bincount(catalogue.track_genre, minlength=len(names)), 0.5)
    posterior = genre_posterior(catalogue.genres, priors / priors.sum(), catalogue.hidden, world.parameters.separation)
    right = posterior.argmax(axis=1) == catalogue.track_genre
    hidden = ~catalogue.track_shows_genre
    ids = world.registers.track_ids.take(np.flatnonzero(hidden)).to_pylist()
    chosen = posterior[np.arange(len(right)), catalogue.track_genre]
    return {
        "hidden": dict(zip(ids, names[catalogue.track_genre[hidden]].tolist(), strict=True)),
        "bayes_accuracy": round(float(right.mean()), 6),
        "bayes_log_loss": round(float(-np.log(chosen).mean()), 6),
        "bayes_accuracy_of_hidden": round(float(right[hidden].mean()), 6) if hidden.any() else None,
    }


def _churn(world: World) -> dict[str, Any]:
    """Every decision with its true probability, every end with its reason, and the best scores at some as-of days."""
    lives, ids = world.lives, world.registers.listener_ids.to_pylist()
    decided = lives.decisions["day"] >= 0
    decisions = lives.decisions.take(decided)
    ended = lives.events.take((lives.events["event"] == EVENTS.index("ended")) & (lives.events["day"] >= 0))
    last = world.parameters.days - 1 - HORIZON_DAYS - GRACE_DAYS
    return {
        "decisions": [
            [ids[who], str(world.clock.date_of(day)), str(world.clock.date_of(to)), round(p, 6), bool(cancels)]
            for who, day, to, p, cancels in zip(
                decisions["listener"].tolist(),
                decisions["day"].tolist(),
                decisions["to"].tolist(),
                lives.cancel_probability[decided].tolist(),
                decisions["cancels"].tolist(),
                strict=True,
            )
        ],
        "ended": [
            [ids[who], str(world.clock.date_of(day)), END_REASONS[reason]]
            for who, day, reason in zip(ended["listener"].tolist(), ended["day"].tolist(), ended["reason"].tolist(), strict=True)
        ],
        "best": [
            churn_oracle(world, world.clock.date_of(day)).scores() for day in range(max(1, last % 7), last + 1, 7) if day > EARLIER_DAYS
        ],
    }


@dataclass(frozen=True)
class Oracle:
    """For the payers of an as-of day whose period ends within the horizon: the best probability that they leave, and whether they did.

    `left` is meaningful where `known`: the world lasts to the end of the grace after their period.
    """

    as_of: date
    listener_ids: Sequence[str]
    probability: Floats
    left: Flags
    known: Flags

    def scores(self) -> dict[str, Any]:
        """Log loss and the area under the ROC curve over those whose outcome is known."""
        p, left = self.probability[self.known], self.left[self.known]
        return {
            "as_of": str(self.as_of),
            "payers": len(p),
            "left": int(left.sum()),
            "log_loss": round(float(-np.log(np.where(left, p, 1 - p)).mean()), 6) if len(p) else None,
            "auc": round(_area(p, left), 6) if left.any() and not left.all() else None,
        }


def churn_oracle(world: World, as_of: date, horizon_days: int = HORIZON_DAYS, grace_days: int = GRACE_DAYS) -> Oracle:
    """The best that can be said at the end of `as_of`, from what can be observed by then: the plays that were delivered, the subscription
    events, and the law itself. The day on which a payer decides cannot be observed: who has not turned renewal off may have decided
    to stay, or not have decided yet. Raises ValueError in a world without subscriptions.
    """
    day = world.clock.number_of(as_of)
    state = _Standing.at(world.lives.events, day, world.people.count)
    who = np.flatnonzero((state.to > day) & (state.to <= day + horizon_days))
    p = sigmoid(_logit(world, who, state, day))
    open_yet = undecided(state.to[who] - day)
    waits = open_yet / (open_yet + (1 - open_yet) * (1 - p))
    cancels = np.where(state.off[who], 1.0, waits * p)
    fails = FAILURE[world.lives.method[who]] * (1 - RECOVERS)
    leaves = (cancels + (1 - cancels) * fails * ~state.off[who]) * (1 - COMES_BACK * np.clip((grace_days - 2) / 50, 0, 1))
    again = _next_opening(world.lives.events, day, world.people.count)
    return Oracle(
        as_of,
        world.registers.listener_ids.take(who).to_pylist(),
        np.clip(leaves, 1e-6, 1 - 1e-6),
        again[who] > state.to[who] + grace_days,
        state.to[who] + grace_days < world.parameters.days,
    )


@dataclass(frozen=True)
class _Standing:
    """By listener, at the end of a day: the end of the running period (-1: none), its plan, and whether renewal was turned off."""

    to: Ints
    plan: Ints
    off: Flags

    @classmethod
    def at(cls, events: Rows, day: int, count: int) -> _Standing:
        known = events.take(events["day"] <= day)
        to, plan, off = np.full(count, -1), np.full(count, -1), np.zeros(count, bool)
        kinds = known["event"]
        paid = np.isin(kinds, [EVENTS.index(name) for name in OPENING if name != "trial_started"])
        closes = kinds == EVENTS.index("ended")
        turns_off = kinds == EVENTS.index("auto_renew_off")
        index = np.arange(len(known))
        last = {name: np.full(count, -1) for name in ("paid", "closes", "off")}
        for name, rows in (("paid", paid), ("closes", closes), ("off", turns_off)):
            last[name][known["listener"][rows]] = index[rows]  # in the order of time: the last one stands
        running = last["paid"] > last["closes"]
        to[running] = known["to"][last["paid"][running]]
        plan[running] = known["plan"][last["paid"][running]]
        off[running] = last["off"][running] > last["paid"][running]
        return cls(to, plan, off)


def _next_opening(events: Rows, day: int, count: int) -> Ints:
    """By listener: the day of the first paid period that opens after `day`."""
    opens = np.isin(events["event"], [EVENTS.index(name) for name in OPENING if name != "trial_started"]) & (events["day"] > day)
    first = np.full(count, 1 << 30)
    np.minimum.at(first, events["listener"][opens], events["day"][opens])
    return first


def _logit(world: World, who: Ints, state: _Standing, day: int) -> Floats:
    """`cancel_logit` of these listeners at the end of a day, from the plays that were delivered by then."""
    count = world.people.count
    recent, earlier, skips, plays, last = (np.zeros(count) for _ in range(5))
    last += day - RECENT_DAYS - EARLIER_DAYS
    for past in range(max(-RUN_IN, day - RECENT_DAYS - EARLIER_DAYS + 1), day + 1):
        block = world.heard(past) if past >= 0 else world.listening.on_time(past, world.tier(past))
        of_day = np.bincount(block.listener, minlength=count)
        if past > day - RECENT_DAYS:
            recent += of_day
        else:
            earlier += of_day
        if past > day - EARLIER_DAYS:
            plays += of_day
            skips += np.bincount(block.listener[IS_SKIP[block.reason]], minlength=count)
        last[of_day > 0] = past
    tenure = (day + 1 - world.people.signed_up).astype(float)
    rise = price_rose(world.parameters, world.clock, state.plan[who], day + 1)
    return cancel_logit(recent[who], earlier[who], skips[who], plays[who], day - last[who], tenure[who], rise, world.parameters.churn)


def _area(probability: Floats, left: Flags) -> float:
    """The area under the ROC curve by ranks (Mann and Whitney 1947), ties shared."""
    _, place, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positive, negative = int(left.sum()), int((~left).sum())
    return float((ranks[left].sum() - positive * (positive + 1) / 2) / (positive * negative))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the answer sheet of a demo tenant's world."""
    slugs = list(sys.argv[1:] if arguments is None else arguments)
    worlds: Mapping[str, Any] = demo_worlds()
    if len(slugs) != 1 or slugs[0] not in worlds:
        sys.stderr.write(f"Name one of the demo worlds: {', '.join(worlds)}.\n")
        return 2
    sys.stdout.write(json.dumps(answers(World(worlds[slugs[0]])), indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
