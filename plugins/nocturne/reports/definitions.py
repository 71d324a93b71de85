"""What each number of a report means, in the words of the house, with the tenant's own rules as of the day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from nocturne.reports import formats
from nocturne.tenants import Rules, Since, Tenant


@dataclass(frozen=True)
class Definition:
    """One term: what it is, and how it is computed. {braces} are the tenant's rules. `subjects`: the parts of a report that use it."""

    term: str
    meaning: str
    formula: str
    subjects: frozenset[str]


def _define(term: str, meaning: str, formula: str, *subjects: str) -> Definition:
    return Definition(term, meaning, formula, frozenset(subjects))


DEFINITIONS: Final = (
    _define(
        "Event date", "The calendar day of an event in the tenant's time zone; a day has 23, 24 or 25 hours.",
        "local date of the event's UTC instant", "activity",
    ),
    _define(
        "Provisional, final", "A number about a day that can still change is provisional. Late rows of any age are still taken in.",
        "final when more than {final_after_days} days old", "activity",
    ),
    _define(
        "Play", "One playback attempt that sounded; a resume of the same track in the same session joins the earlier play.",
        "ms played > 0; resumes within {resume_gap_seconds} s joined", "activity",
    ),
    _define(
        "Stream", "A play that is long enough to count. A track shorter than the threshold streams when it is completed.",
        "plays with ms played {stream_comparison} {stream_min_ms}", "activity", "tracks", "artists", "statements",
    ),
    _define(
        "Skip rate", "Share of plays that the listener ended before the track's end. A play cut by the network or a session's end is none.",
        "skips / plays", "activity",
    ),
    _define(
        "Completion rate", "Share of plays in which at least {complete_percent} of the track's milliseconds were heard.",
        "completed plays / plays", "activity",
    ),
    _define("Play time", "Time played, with repeats.", "sum of ms played", "activity"),
    _define(
        "Listeners", "Distinct people with at least one stream in the window, which is always named. Never summed over days or countries.",
        "distinct listeners with a stream in 1, 7 or 28 days", "activity",
    ),
    _define(
        "Stickiness", "How much of the month's audience is there on a mean day.",
        "mean daily listeners of 28 days / listeners of the same 28 days", "activity",
    ),
    _define("New listener", "A person whose first stream ever falls on the day.", "listeners with first stream on the day", "activity"),
    _define(
        "Retention, week k", "Share of a weekly cohort (by first stream) that streams in the k-th week after it. "
        "A week that is not over is blank, never 0.",
        "cohort's listeners with a stream in week k / cohort", "retention",
    ),
    _define(
        "MRR", "Sum of the monthly price of paying subscriptions at the end of a day, trials excluded.",
        "monthly plans + annual plans / 12", "subscriptions",
    ),
    _define(
        "MRR bridge", "How the opening becomes the closing, exactly.",
        "opening + new + expansion − contraction − churn + reactivation = closing", "subscriptions",
    ),
    _define("ARPPU", "Revenue of a paying listener.", "MRR / paying listeners at the same instant", "subscriptions"),
    _define(
        "Churn", "A subscription without a new valid period within {churn_grace_days} days after its paid period. Switching off the "
        "renewal alone is not churn.",
        "ended without renewal within {churn_grace_days} days", "subscriptions",
    ),
    _define(
        "Churn risk", "The model's probability that a paying listener whose period ends within the named horizon churns.",
        "champion model of the churn problem", "churn",
    ),
    _define(
        "Revenue", "Money of the day in the report's currency, by where it comes from.", "gross, and net of tax and refunds", "revenue",
    ),
    _define(
        "Royalties", "Net amounts of delivered statements, by month of the statement's period. An issued statement never changes: "
        "what arrives later is an adjustment on the next.",
        "sum of net amounts of statement lines", "statements",
    ),
    _define(
        "Market share", "A holder's part of all streams in the territory and period; said only by a tenant that sees the whole market.",
        "streams of the holder / all streams", "holders",
    ),
    _define(
        "Reconciliation", "Every row that was delivered is accounted for.",
        "landed = left out + kept + quarantined", "reconciliation",
    ),
    _define(
        "Quarantined", "Rows that break a declared rule are kept apart with their reason, and counted nowhere else.",
        "rows refused with a reason", "reconciliation",
    ),
    _define(
        "Forecast band", "The range that held 8 of 10 days which the model had not seen, for the same number of days ahead.",
        "value, low, high of the champion model", "forecasts",
    ),
)  # fmt: skip


def definitions(tenant: Tenant, day: date, subjects: Iterable[str]) -> list[Definition]:
    """The definitions that a report about `subjects` needs, with the rules in force on `day`."""
    wanted = frozenset(subjects)
    words = _words(tenant.rules, day)
    return [
        Definition(each.term, each.meaning.format(**words), each.formula.format(**words), each.subjects)
        for each in DEFINITIONS
        if each.subjects & wanted
    ]


def rule(entries: Sequence[Since[Any]], day: date) -> Any:
    """The value of an effective-dated rule on `day`."""
    held = [entry.value for entry in entries if entry.since <= day]
    return held[-1] if held else entries[0].value


def _words(rules: Rules, day: date) -> dict[str, str]:
    return {
        "final_after_days": str(rule(rules.final_after_days, day)),
        "resume_gap_seconds": str(rule(rules.resume_gap_seconds, day)),
        "stream_comparison": "≥" if rule(rules.stream_rule, day) == "gte" else ">",
        "stream_min_ms": formats.count(rule(rules.stream_min_ms, day)),
        "complete_percent": formats.percent(rule(rules.complete_rate, day), 0),
        "churn_grace_days": str(rule(rules.churn_grace_days, day)),
    }
