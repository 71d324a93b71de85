"""From comparisons to findings: which changes are worth a sentence, what explains them, and which of them say the same thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from nocturne.insights.baselines import Comparison
from nocturne.insights.metrics import SPECIFIC_FIRST, Metric

MOST = 10  # findings of a day
_TOTAL_DEVIATION, _TOTAL_CHANGE = 5.0, 0.12
_MEMBER_DEVIATION, _MEMBER_CHANGE, _MEMBER_SHARE = 6.0, 0.5, 0.02
_EXPLAINS = 0.3  # the least part of a change that one member must account for to be named
_MORE_THAN_ITS_SHARE = 1.5  # by which it must exceed the part that its size alone would give it
_AS_WELL = 0.7  # how much of the best explanation a more specific one must give to be preferred
_SAME_THING = 0.5  # the part of a change that another finding accounts for, above which it is no news
_HIGH_CHANGE, _HIGH_SHARE = 0.3, 0.05
_NEWS_DAYS = 3  # on which a lasting change is told each day

Severity = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class Member:
    """One member of a dimension; `inside` names what it belongs to in other dimensions (a track's artist and genre)."""

    dimension: str
    key: str
    name: str = field(compare=False)
    inside: Mapping[str, str] = field(compare=False, default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """A change worth a sentence: of a metric's total (scope `total`, with the member that explains it, if one does), of its week, or of a
    member. `contribution` is the member's part of the total's change; `part` the member's own numbers where the finding is the total's.
    """

    metric: Metric
    scope: Literal["total", "week", "member"]
    comparison: Comparison
    severity: Severity
    member: Member | None = None
    contribution: float | None = None
    part: Comparison | None = None
    total: Comparison | None = None
    before: float | None = None

    @property
    def rank(self) -> tuple[int, int, float]:
        """Sorts the most important finding first."""
        level = ("high", "medium", "low").index(self.severity)
        return level, ("total", "member", "week").index(self.scope), -abs(self.comparison.deviation)


def is_strange(metric: Metric, total: Comparison) -> bool:
    """Whether a total's change is worth a sentence: rare for this series, and large enough to matter."""
    if abs(total.deviation) < _TOTAL_DEVIATION or abs(total.delta) < metric.worth:
        return False
    return metric.kind == "ratio" or abs(total.change) >= _TOTAL_CHANGE


def findings_of(metric: Metric, total: Comparison, members: Mapping[Member, Comparison]) -> list[Finding]:
    """The findings of one metric and day: the total's, if it is strange, and those of members that moved on their own."""
    found: list[Finding] = []
    strange = is_strange(metric, total)
    if strange:
        found.append(_of_total(metric, total, members))
    factor = total.value / total.expected if strange and total.expected > 0 else 1.0
    named = found[0] if found else None
    alone = {
        member: one for member, one in members.items() if _moved_alone(metric, total, one, factor) and not _is_told(member, one, named)
    }
    found += [_of_member(metric, total, member, alone[member], strange=strange) for member in _different(alone)]
    return [finding for finding in found if _is_news(finding.comparison)]


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """The findings of a day, the most important first, at most MOST of them."""
    return sorted(findings, key=lambda finding: (finding.rank, finding.metric.name, finding.member.key if finding.member else ""))[:MOST]


def _of_total(metric: Metric, total: Comparison, members: Mapping[Member, Comparison]) -> Finding:
    severity: Severity = "high" if metric.kind != "ratio" and abs(total.change) >= _HIGH_CHANGE else "medium"
    member = _explanation(total, members)
    if member is None:
        return Finding(metric, "total", total, severity)
    part = members[member]
    return Finding(metric, "total", total, severity, member, part.delta / total.delta, part)


def _explanation(total: Comparison, members: Mapping[Member, Comparison]) -> Member | None:
    """The member that accounts for most of the total's change, and for more than its size alone would; the more specific of equals."""
    parts = {}
    for member, one in members.items():
        part = one.delta / total.delta
        share = one.expected / total.expected if total.expected > 0 else 0.0
        if part >= _EXPLAINS and part >= _MORE_THAN_ITS_SHARE * share:
            parts[member] = part
    if not parts:
        return None
    best = max(parts.values())
    good = [member for member, part in parts.items() if part >= _AS_WELL * best]
    return min(good, key=lambda member: (_specific(member), -parts[member], member.key))


def _moved_alone(metric: Metric, total: Comparison, one: Comparison, factor: float) -> bool:
    """Whether a member moved, and still did when what moved everything is taken away, in the same direction."""
    large = abs(one.delta) >= max(metric.worth, _MEMBER_SHARE * total.expected)
    if not large or abs(one.change) < _MEMBER_CHANGE or abs(one.deviation) < _MEMBER_DEVIATION:
        return False
    relative = one.beside(factor)
    return relative.delta * one.delta > 0 and abs(relative.deviation) >= _MEMBER_DEVIATION / 2


def _is_told(member: Member, one: Comparison, named: Finding | None) -> bool:
    """Whether the total's finding already tells it: the explanation itself, or another dimension's view of the same change."""
    if named is None or named.member is None or named.part is None or one.delta * named.part.delta < 0:
        return False
    return member == named.member or member.dimension != named.member.dimension


def _different(alone: Mapping[Member, Comparison]) -> list[Member]:
    """The members that moved, without those whose move is another one's seen from elsewhere.

    A hit lifts its artist and its genre: the track is named if it accounts for most of that; else the artist is, and then not its tracks.
    """
    kept = [member for member, one in alone.items() if not any(_accounts_for(part, alone[part], member, one) for part in alone)]
    return [
        member
        for member in kept
        if not any(member.inside.get(whole.dimension) == whole.key and alone[whole].delta * alone[member].delta > 0 for whole in kept)
    ]


def _accounts_for(part: Member, moved: Comparison, whole: Member, one: Comparison) -> bool:
    """Whether the move of a more specific member accounts for most of another's.

    Of those that no catalogue relates (an artist and a country), moves of about the same size are taken for the same.
    """
    belongs_to = part.inside.get(whole.dimension)
    if _specific(part) >= _specific(whole) or belongs_to not in (None, whole.key):
        return False
    ratio = moved.delta / one.delta
    return ratio >= _SAME_THING and (belongs_to is not None or ratio <= 1 / _SAME_THING)


def _is_news(one: Comparison) -> bool:
    """Whether a change is still told: on its first days, and once a week after that."""
    return one.days <= _NEWS_DAYS or one.days % 7 == 0


def _of_member(metric: Metric, total: Comparison, member: Member, one: Comparison, *, strange: bool) -> Finding:
    share = abs(one.delta) / max(total.expected, 1.0)
    contribution = one.delta / total.delta if strange and one.delta * total.delta > 0 else None
    return Finding(metric, "member", one, "medium" if share >= _HIGH_SHARE else "low", member, contribution, total=total)


def _specific(member: Member) -> int:
    return SPECIFIC_FIRST.index(member.dimension) if member.dimension in SPECIFIC_FIRST else len(SPECIFIC_FIRST)
