"""What random worlds hold beside listening and money: tiers, artificial streams, releases, sales, and rows that were received late."""

from __future__ import annotations

import random
from datetime import date, timedelta

from tests.integration.marts.world import Row, World

TIERS = ("free", "trial", "basic", "yearly", None)


def fill(world: World, dice: random.Random, first: date, last: date) -> None:
    """Give every play a tier and every payment a subscription; call some plays artificial, sell some records."""
    complete(world, dice)
    flag(world, dice, 6)
    for number in range(3):
        world.add("releases", release(dice, f"release-{number}", first))
    for row in world.rows["tracks"]:
        row["release_id"] = dice.choice(("release-0", "release-1", "release-missing", None))
    sell(world, dice, first, last, 15)
    for dataset, on in (("plays", "played_on"), ("payments", "paid_on"), ("sales", "sold_on")):
        for row in world.rows[dataset]:
            row["received_on"] = row[on] + timedelta(dice.choice((0, 0, 1, 4, 40)))


def upset(world: World, dice: random.Random, first: date, last: date) -> None:
    """Flags and sales that come late, change or go, and another catalogue."""
    complete(world, dice)
    flag(world, dice, dice.randrange(3))
    sell(world, dice, first, last, dice.randrange(3))
    for dataset in ("artificial_streams", "sales"):
        rows = world.rows[dataset]
        for row in dice.sample(rows, min(len(rows), dice.randrange(2))):
            rows.remove(row)
    if dice.random() < 0.4:
        dice.choice(world.rows["tracks"])["release_id"] = "release-2"
    if dice.random() < 0.3:
        world.rows["releases"][0] = world.complete("releases", release(dice, "release-0", first))


def complete(world: World, dice: random.Random) -> None:
    """The columns that plays and payments have beside those of the definitions of listening."""
    for row in world.rows["plays"]:
        row.setdefault("tier", TIERS[sum(row["play_id"].encode()) % len(TIERS)])
    subscriptions = sorted({(row["listener_key"], row["subscription_id"]) for row in world.rows["subscription_events"]})
    for row in world.rows["payments"]:
        own = [subscription for listener, subscription in subscriptions if listener == row.get("listener_key")]
        row.setdefault("subscription_id", dice.choice([*own, None]))


def flag(world: World, dice: random.Random, count: int) -> None:
    """Call attempts artificial, a few of them on a day that is not theirs."""
    known = {row["play_id"] for row in world.rows.get("artificial_streams", [])}
    plays = [row for row in world.rows["plays"] if row["play_id"] not in known]
    for row in dice.sample(plays, min(count, len(plays))):
        on = row["played_on"] + timedelta(dice.choice((0, 0, 0, 1)))
        world.add(
            "artificial_streams",
            {"play_id": row["play_id"], "flagged_on": on, "reason": "a rule", "score": 0.9, "model_version": "1"},
        )


def release(dice: random.Random, name: str, first: date) -> Row:
    """A release of some artist, on one of the first days or on a day that nobody tells."""
    released_on = dice.choice((first, first + timedelta(1), None))
    return {"release_id": name, "title": name.title(), "artist_id": dice.choice(("artist-0", "artist-1", None)), "released_on": released_on}


def sell(world: World, dice: random.Random, first: date, last: date, count: int) -> None:
    """Records and tracks sold, some given back."""
    for _ in range(count):
        what = dice.choice(
            (
                {"release_id": dice.choice(("release-0", "release-1", "release-missing"))},
                {"track_id": dice.choice([row["track_id"] for row in world.rows["tracks"]])},
                {},
            )
        )
        world.add(
            "sales",
            {
                "sale_id": f"sale-{dice.randrange(10**9):09}",
                "sold_on": first + timedelta(dice.randrange((last - first).days + 1)),
                "unit_count": dice.choice((1, 3, -1)),
                "net_amount": 5,
                "currency": "EUR",
                "country": "FR",
                "format": dice.choice(("album_download", "vinyl", "track_download", "other", None)),
            }
            | what,
        )
