"""Findings in English sentences, one each, with their numbers."""

from __future__ import annotations

from datetime import date

from nocturne.insights.baselines import Comparison
from nocturne.insights.findings import Finding, Member
from nocturne.insights.metrics import Metric

_ORDINALS = ("", "", "second", "third", "fourth", "fifth", "sixth", "seventh")


def sentence(finding: Finding, day: date, currency: str) -> str:
    """What a finding says."""
    if finding.scope == "week":
        return _week(finding, day, currency)
    if finding.scope == "member" and finding.member and finding.total:
        return _member(finding, finding.member, finding.total, day, currency)
    return _total(finding, day, currency)


def _total(finding: Finding, day: date, currency: str) -> str:
    metric, one = finding.metric, finding.comparison
    verb = "was" if metric.kind != "count" else "were"
    text = f"{metric.label} {verb} {_number(metric, one.value, currency)} on {_date(day)}"
    text += f", {_against(metric, one, day, currency)}{_lasting(one)}"
    if finding.member and finding.part and finding.contribution is not None:
        text += (
            f"; {_name(finding.member)} explains {finding.contribution:.0%} of the {'rise' if one.delta > 0 else 'fall'}"
            f" ({_number(metric, finding.part.value, currency)} instead of {_number(metric, finding.part.expected, currency)})"
        )
    return text + "."


def _member(finding: Finding, member: Member, total: Comparison, day: date, currency: str) -> str:
    metric, one = finding.metric, finding.comparison
    if member.dimension == "hours":
        usual = _number(metric, one.expected, currency)
        return f"Nothing was played from {member.name.replace('-', ' to ')} on {_date(day)}, when {usual} plays are usual."
    text = (
        f"{_capital(_name(member))} had {_counted(metric, one.value, currency)} on {_date(day)},"
        f" {_against(metric, one, day, currency)}{_lasting(one)}"
    )
    if one.delta > 0 and total.value > 0:
        text += f"; that is {one.value / total.value:.0%} of all {metric.label.lower()}"
    return text + "."


def _week(finding: Finding, day: date, currency: str) -> str:
    metric, one = finding.metric, finding.comparison
    text = (
        f"{metric.label} in the week to {_date(day)} came to {_number(metric, one.value, currency)}, {_percent(one.change)} the median of"
    )
    text += f" the four weeks before ({_number(metric, one.expected, currency)})"
    if finding.before:
        text += f" and {_percent(one.value / finding.before - 1)} the week before ({_number(metric, finding.before, currency)})"
    return text + "."


def _against(metric: Metric, one: Comparison, day: date, currency: str) -> str:
    expected = _number(metric, one.expected, currency)
    usual = f"what a {day:%A} usually brings"
    if metric.kind == "ratio":
        return f"{abs(one.delta) * 100:.1f} points {'above' if one.delta > 0 else 'below'} {usual} ({expected})"
    if one.expected < 1:
        return f"where a {day:%A} usually brings none"
    if one.change >= 2:
        return f"{one.value / one.expected:.1f} times {usual} ({expected})"
    return f"{_percent(one.change)} {usual} ({expected})"


def _counted(metric: Metric, value: float, currency: str) -> str:
    if metric.kind == "amount":
        return f"{metric.label.lower()} of {_number(metric, value, currency)}"
    return f"{_number(metric, value, currency)} {metric.label.lower()}"


def _percent(change: float) -> str:
    return f"{abs(change):.0%} {'above' if change > 0 else 'below'}"


def _lasting(one: Comparison) -> str:
    if one.days < 2:
        return ""
    return f", for the {_ORDINALS[one.days]} day in a row" if one.days < len(_ORDINALS) else f", for {one.days} days in a row"


def _number(metric: Metric, value: float, currency: str) -> str:
    if metric.kind == "ratio":
        return f"{value:.1%}"
    if metric.kind == "amount":
        return f"{currency} {value:,.2f}"
    return f"{value:,.0f}"


def _name(member: Member) -> str:
    return f"{member.dimension.replace('_', ' ')} {member.name}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _date(day: date) -> str:
    return f"{day:%A} {day.isoformat()}"
