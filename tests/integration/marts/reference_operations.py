"""A tenant's usage once more, in plain Python: rows and listening by calendar month, what two deliveries say of the same, how nights went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from statistics import median
from typing import TYPE_CHECKING

from tests.integration.marts.reference_rights import month_of, months_before

if TYPE_CHECKING:
    from nocturne.quality import Judgement
    from tests.integration.marts.reference import Marts, Table
    from tests.integration.marts.world import Row

KEYS: dict[str, tuple[str, ...]] = {
    "usage_months": ("month_on",),
    "agreement_months": ("subject", "part", "month_on"),
    "quality_days": ("layer", "table_name", "judged_on"),
    "model_health_days": ("problem", "watched_on"),
}


def tables(marts: Marts, found: Mapping[str, Table]) -> dict[str, Table]:
    """Its marts, from those that they are made of."""
    return _usage(marts) | _agreement(marts, found) | _quality(marts) | _health(marts)


def _agreement(marts: Marts, found: Mapping[str, Table]) -> dict[str, Table]:
    """Every pair of deliveries that the tenant has, month by month."""
    is_sold, is_stated = marts.has("payments", "subscription_events", "plans"), marts.has("statements", "plays")
    if not (is_sold or is_stated):
        return {}
    told = (_sold(found) if is_sold else {}) | (_stated(found) if is_stated else {})
    whole = {
        key: row
        for key, row in told.items()
        if key[2] >= marts.tenant.begins_on and months_before(key[2], -1) <= marts.today + timedelta(1)
    }
    for (subject, part, month), row in whole.items():
        before = [months_before(month, n) for n in range(1, 13)]
        ratios = [whole[subject, part, one]["agreement_ratio"] for one in before if (subject, part, one) in whole]
        known = [ratio for ratio in ratios if ratio is not None]
        usual = median(known) if len(known) >= 3 else None
        row["usual_ratio"] = usual
        row["ratio_to_usual"] = None if row["agreement_ratio"] is None or not usual else row["agreement_ratio"] / usual
    return {"agreement_months": whole}


def _sold(found: Mapping[str, Table]) -> Table:
    """Payments beside what subscriptions are worth."""
    due, paid = defaultdict(list), defaultdict(list)
    for (on,), row in found["mrr_days"].items():
        due[month_of(on)].append(row["closing_amount"])
    for (on, _, kind), row in found["revenue_days"].items():
        paid[month_of(on), kind].append(row["gross_amount"])
    return {
        ("payments against subscriptions", "all", month): _pair(sum(paid[month, "subscription"]), sum(amounts) / len(amounts))
        for month, amounts in due.items()
    }


def _stated(found: Mapping[str, Table]) -> Table:
    """Streams that statements name beside those that were heard."""
    heard: dict[date, int] = defaultdict(int)
    for (on,), row in found["activity_days"].items():
        heard[month_of(on)] += row["stream_count"]
    stated = defaultdict(list)
    for (service, month, _), row in found["statement_months"].items():
        stated[service, month] += [] if row["stream_count"] is None else [row["stream_count"]]
    return {
        ("statements against streams", service, month): _pair(sum(counts) if counts else None, heard[month])
        for (service, month), counts in stated.items()
        if month in heard
    }


def _pair(told: Decimal | int | None, expected: Decimal | int) -> Row:
    ratio = float(told) / float(expected) if expected and told is not None else None
    values = [None if value is None else Decimal(value).quantize(Decimal("0.000001"), ROUND_HALF_UP) for value in (told, expected)]
    return {"told_value": values[0], "expected_value": values[1], "agreement_ratio": ratio}


def _usage(marts: Marts) -> dict[str, Table]:
    """Months in which something was received or somebody listened, or did anything else."""
    received: dict[date, int] = defaultdict(int)
    for dataset in marts.tenant.datasets:
        for mark in marts.world.marks.marks(marts.tenant, "bronze", dataset.name).values():
            received[month_of(date.fromisoformat(mark.facts["received_on"]))] += mark.facts["rows"]
    heard = [p["played_on"] for p in marts.plays] + [session.events[0].on for session in marts.sessions]
    found: Table = {}
    for month in {month_of(on) for on in heard} | received.keys():
        plays = [p for p in marts.plays if month_of(p["played_on"]) == month]
        listening = {
            "play_count": len(plays),
            "stream_count": sum(p["is_stream"] for p in plays),
            "listeners_month": len({p["listener_key"] for p in plays if p["is_stream"]}),
        }
        found[month,] = {
            "delivered_count": received[month],
            "price_amount": _price(marts, month, received[month]),
            **(listening if marts.has("plays") else dict.fromkeys(listening)),
        }
    return {"usage_months": found}


def _price(marts: Marts, month: date, rows: int) -> Decimal | None:
    bill = next((one for one in reversed(marts.tenant.bill) if one.since <= month), None)
    if bill is None:
        return None
    beyond = Decimal(max(0, rows - bill.included_rows)) / 1_000_000
    return (bill.month + beyond * bill.million_rows).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _quality(marts: Marts) -> dict[str, Table]:
    """Every table and day that a gate judged, from all that it said of its parts."""
    parts = defaultdict(list)
    for one in marts.world.marks.judgements(marts.tenant, date.min, date.max):
        parts[one.layer, one.table, one.day].append(one)
    return {"quality_days": {key: _table_day(key[0], judged) for key, judged in parts.items()}}


def _table_day(layer: str, parts: list[Judgement]) -> Row:
    """A check failed if it failed in one part; else it passed if it passed in one; else it was muted if it was in one."""
    checks = defaultdict(list)
    for part in parts:
        for result in part.results:
            checks[result.place, result.check].append((result.outcome, result.severity))
    told = []
    for results in checks.values():
        outcome = next(one for one in ("failed", "passed", "muted", "unknown") if one in {outcome for outcome, _ in results})
        told.append((outcome, "stop" if (outcome, "stop") in results else "warn"))
    weights = {outcome: 5 * told.count((outcome, "stop")) + told.count((outcome, "warn")) for outcome in ("passed", "failed")}
    rows = None if layer in {"sums", "access"} else sum(part.counts["rows"] for part in parts)
    is_taken = layer == "bronze" and all("quarantined" in part.counts for part in parts)
    refused = sum(part.counts["quarantined"] for part in parts) if is_taken else None
    reasons = {"bronze": "no row was delivered" if not rows else None if is_taken else "silver has not taken all deliveries of the day"}
    return {
        "check_count": len(told),
        "passed_count": sum(outcome == "passed" for outcome, _ in told),
        "warned_count": told.count(("failed", "warn")),
        "stopped_count": told.count(("failed", "stop")),
        "muted_count": sum(outcome == "muted" for outcome, _ in told),
        "unknown_count": sum(outcome == "unknown" for outcome, _ in told),
        "quality_score": float(Fraction(weights["passed"], sum(weights.values()))) if sum(weights.values()) else None,
        "row_count": rows,
        "quarantined_count": refused,
        "quarantined_ratio": refused / rows if rows and refused is not None else None,
        "quarantined_reason": reasons.get(layer, "only rows of deliveries are quarantined"),
    }


def _health(marts: Marts) -> dict[str, Table]:
    """What the watch said of every problem that the tier gives."""
    found: Table = {}
    for problem in marts.tenant.limits.problems:
        for day, mark in marts.world.marks.marks(marts.tenant, "watch", problem).items():
            said = mark.facts
            limits = [(said.get("index"), said.get("index_limit")), (said.get("error"), said.get("error_limit"))]
            broken = [value for value, limit in limits if value is not None and limit is not None and value > limit]
            is_young = "version" in said and said["age_days"] < said["oldest_days"]
            found[problem, date.fromisoformat(day)] = {
                "champion_version": said.get("version"),
                "trained_on": date.fromisoformat(said["trained_on"]) if "version" in said else None,
                "age_days": said.get("age_days"),
                "drift_feature": said.get("feature"),
                "drift_index": said.get("index"),
                "promised_value": said.get("promised"),
                "error_value": said.get("error"),
                "is_within_bounds": is_young and not broken if "version" in said else None,
                "is_training_due": said["is_due"],
                "reason": said["reason"],
            }
    return {"model_health_days": found}
