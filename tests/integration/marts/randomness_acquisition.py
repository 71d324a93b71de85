"""Random marketing that keeps to where its definitions turn: contacts 30 days before a payment to the second, at a sign-up, after it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from tests.integration.marts.world import Row, World

CHANNELS = ("search", "social", "email", "store")
BEFORE = (
    timedelta(0), timedelta(seconds=1), timedelta(seconds=-1), timedelta(hours=7), timedelta(days=7), timedelta(days=29, hours=23),
    timedelta(days=30), timedelta(days=30, seconds=1), timedelta(days=60), timedelta(days=61),
)  # fmt: skip


def marketing(world: World, dice: random.Random, name: Callable[[str], str], listeners: Sequence[str], count: int) -> None:
    """Add contacts and exposures around what the listeners did; some of people who never sign up."""
    for _ in range(count):
        listener = dice.choice((*listeners, *listeners, "visitor-0", "visitor-1"))
        at = dice.choice(_moments(world, listener)) - dice.choice(BEFORE)
        contact: Row = {"touchpoint_id": name("touch"), "touched_at": at, "listener_key": listener, "channel": dice.choice(CHANNELS)}
        cost = {"cost_amount": dice.choice((0.5, 1.25, None)), "currency": dice.choice(("EUR", "USD", "GBP"))}
        world.add("touchpoints", contact | {"campaign_id": dice.choice(("c1", None))} | cost)
    there = {(row["experiment_id"], row["listener_key"]) for row in world.rows.get("exposures", [])}
    for experiment, listener in {(dice.choice(("e1", "e2")), dice.choice(listeners)) for _ in range(count)} - there:
        at = dice.choice(_moments(world, listener)) - dice.choice(BEFORE)
        variant = dice.choice(("control", "treatment", "third") if experiment == "e1" else ("b", "a"))
        world.add("exposures", {"experiment_id": experiment, "listener_key": listener, "variant": variant, "exposed_at": at})


def upset_marketing(world: World, dice: random.Random) -> None:
    """Let some contacts and exposures go, and move others to another moment."""
    for dataset, at, on in (("touchpoints", "touched_at", "touched_on"), ("exposures", "exposed_at", "exposed_on")):
        rows = world.rows[dataset]
        for row in dice.sample(rows, min(len(rows), 2)):
            rows.remove(row)
            if dice.random() < 0.6:
                moved = {key: value for key, value in row.items() if key not in {on, "received_on"}}
                world.add(dataset, moved | {at: row[at] + dice.choice((-1, 1)) * dice.choice(BEFORE)})


def _moments(world: World, listener: str) -> list[datetime]:
    """When a listener signed up and did something with a subscription; of a visitor, when others did."""
    accounts = world.rows["listeners"]
    known = [row for row in accounts if row.get("signed_up_at")]
    own = [row["signed_up_at"] for row in known if row["listener_key"] == listener] or [row["signed_up_at"] for row in known]
    return own + [row["occurred_at"] for row in world.rows["subscription_events"] if row["listener_key"] == listener]
