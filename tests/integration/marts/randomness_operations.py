"""Random nights: what gates found of deliveries, sums and marts, some of it judged again, some of it not taken by silver yet; what models said."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

from nocturne.ledger import Mark
from nocturne.quality import LAYERS, Judgement, Outcome, Result, Severity
from tests.integration.marts.world import World

_OUTCOMES: tuple[Outcome, ...] = ("passed", "passed", "failed", "muted", "unknown")
_SEVERITIES: tuple[Severity, ...] = ("stop", "warn")


def judge(world: World, first: date, last: date, count: int) -> None:
    """Judge `count` parts of tables anew. It throws dice of its own: those of the world fall as they did."""
    dice = random.Random(f"{first} {last} {count} {len(world.rows.get('plays', []))}")
    for _ in range(count):
        layer, table = dice.choice(LAYERS), dice.choice(("plays", "tracks"))
        day = first + timedelta(dice.randrange(4))
        part = f"{dice.choice(('app', 'web'))}/{day}" if layer == "bronze" else ""
        results = tuple(
            Result(f"check {number}", "some.yml:1", dice.choice(_SEVERITIES), dice.choice(_OUTCOMES), "Because.")
            for number in range(dice.randrange(4))
        )
        rows = dice.choice((0, 7, 20))
        counts = {} if layer in {"sums", "access"} else {"rows": rows}
        world.marks.judge(world.tenant, [Judgement(layer, table, day, part, results, counts)])
        if layer == "bronze" and dice.random() < 0.7:
            refused = dice.randrange(rows + 1)
            world.marks.mark(world.tenant, "quarantine", table, {part: Mark("x", {"valid": rows - refused, "quarantined": refused})})


def watch(world: World, day: date) -> None:
    """Say something of two problems on a day: of one that has no champion, and of one at its bounds or beyond."""
    dice = random.Random(f"{day} {len(world.rows.get('plays', []))}")
    none: dict[str, Any] = {"is_due": True, "reason": "there is no champion yet"}
    some = {"version": "3", "trained_on": str(day - timedelta(28)), "age_days": dice.choice((27, 28)), "oldest_days": 28, "metric": "error"}
    drift = {"feature": "energy", "index": dice.choice((0.24, 0.25, 0.26, None)), "index_limit": 0.25}
    decay = {"promised": 0.2, "error": dice.choice((0.29, 0.3, 0.31, None)), "error_limit": 0.3}
    told = {"is_due": dice.random() < 0.5, "reason": "so it was seen"}
    for problem, facts in (("genre", none), ("forecast", some | drift | decay | told)):
        world.marks.mark(world.tenant, "watch", problem, {str(day): Mark("x", facts)})
