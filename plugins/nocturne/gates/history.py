"""What is usual for a source: its own past batches, judged robustly and with a cold start."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import log, sqrt
from statistics import median

import numpy as np

WEEKS = 8  # how far back weekdays are looked at
ENOUGH_WEEKDAYS = 5  # with fewer batches of the same weekday, all weekdays are looked at together
ALL_DAYS = 28
ENOUGH_DAYS = 7  # with fewer, nothing is usual yet
ENOUGH_SNAPSHOTS = 3  # of a source that delivers its whole state, which weekdays do not move
SMALL = 20  # below so many usual rows, a share of them says nothing
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
FAR_BELOW = 5.0  # spreads: days without a holiday or an outage do not come so far down
LEAST_SPREAD = 0.5  # in roots of rows: what comes by itself scatters by half a root, however many there are (Anscombe, 1948)
STEADIEST = 1 / 40  # of the root, so one part in twenty of the rows: no source is steadier for long
FEW_FOR_A_MIX = 100  # below so many rows, the shares of countries and platforms are chance
FEW_FOR_A_CLOCK, ENOUGH_FOR_A_CLOCK = 500, 21  # rows, and days: three weekends, on which the hours are others
FEW_FOR_NOVELTY = 10  # so many rows of what was never there are no chance
STEPS = 20  # parts of equal numbers of rows into which the quantiles of a column cut it
_OWN_MEDIAN = 1.3  # by so much fewer do five to eight values count that are measured from their own median (simulated, normal values)
_CHANCE = 1.63  # of the Kolmogorov-Smirnov statistic times the root of the rows: one sample in a hundred lies beyond
_FAR = 3.09  # standard deviations of a normal distribution: one sample in a thousand lies beyond
_RARE = 1e-3  # a share that is never thought to be smaller: a value that was nearly never there is no distribution


@dataclass(frozen=True)
class Past:
    """An earlier batch of a source: when it was received and how many rows were kept."""

    received_on: date
    rows: int


@dataclass(frozen=True)
class Usual:
    """The usual number of rows, and its spread: a standard deviation of the root of that number, estimated robustly.

    Roots, since those of counts scatter alike whether there are few or many (Anscombe, 1948): where twenty rows are usual, two are found to
    be too few, and where the number scatters by its fifth, a quarter of it is.
    """

    rows: float
    spread: float

    def ratio(self, rows: int) -> float | None:
        """`rows` against the usual; None if the usual is too small to compare with."""
        return rows / self.rows if self.rows >= SMALL else None

    def of_floor(self, rows: int) -> float | None:
        """`rows` against the fewest that are believable; None if the usual is too small to compare with.

        The floor is half the usual, or what lies far below it where a source scatters more than that, and never less than a tenth.
        """
        far_below = max(0.0, sqrt(self.rows) - FAR_BELOW * self.spread) ** 2
        return rows / max(self.rows / 10, min(self.rows / 2, far_below)) if self.rows >= SMALL else None

    def deviation(self, rows: int) -> float | None:
        """How many spreads `rows` lies above (or below) the usual; None if the usual is too small to compare with."""
        return (sqrt(rows) - sqrt(self.rows)) / self.spread if self.rows >= SMALL else None


def usual_rows(past: Sequence[Past], received_on: date, *, is_daily: bool) -> Usual | None:
    """What a batch received on a day usually holds; None while too little is known (the cold start).

    A daily source is compared with the same weekday of the last weeks, and until there are enough with all of its last batches.
    """
    earlier = sorted((one for one in past if one.received_on < received_on), key=lambda one: one.received_on)
    recent = [one.rows for one in earlier][-ALL_DAYS:]
    if is_daily and (usual := _of_weekday(earlier, received_on)):
        return usual
    if len(recent) >= (ENOUGH_DAYS if is_daily else ENOUGH_SNAPSHOTS):
        middle = sqrt(median(recent))
        return _usual(middle, MAD_TO_DEVIATION * median(abs(sqrt(rows) - middle) for rows in recent))
    return None


def _of_weekday(past: Sequence[Past], received_on: date) -> Usual | None:
    """The median of the same weekday, brought to the level of today by the trend, and how far all days lie from their weekday's median.

    The trend is the seasonal Kendall slope (Hirsch, Slack and Smith, 1982): the median slope between days of the same weekday. None if
    there are too few of today's weekday.
    """
    roots = {ago: sqrt(one.rows) for one in past if (ago := (received_on - one.received_on).days) <= 7 * WEEKS}
    if sum(ago % 7 == 0 for ago in roots) < ENOUGH_WEEKDAYS:
        return None
    pairs = ((ago, before) for ago in roots for before in range(ago + 7, 7 * WEEKS + 1, 7) if before in roots)
    slope = median((roots[ago] - roots[before]) / (before - ago) for ago, before in pairs)
    levels: dict[int, list[float]] = defaultdict(list)
    for ago, root in roots.items():
        levels[ago % 7].append(root + slope * ago)
    known = [(median(found), found) for found in levels.values() if len(found) >= ENOUGH_WEEKDAYS]
    differences = [abs(level - middle) for middle, found in known for level in found]
    weeks = len(differences) / len(known)
    return _usual(max(0.0, median(levels[0])), MAD_TO_DEVIATION * median(differences) * weeks / (weeks - _OWN_MEDIAN))


def _usual(root: float, spread: float) -> Usual:
    rows = round(root**2, 6)  # a whole number again, where it was one
    return Usual(rows, max(spread, LEAST_SPREAD, root * STEADIEST))


def usual_share(shares: Sequence[float]) -> float | None:
    """The usual share of some rows, such as those filled in a column (median of the last batches); None while too little is known."""
    return median(shares[-ALL_DAYS:]) if len(shares) >= ENOUGH_DAYS else None


def chance_of(share: float, rows: int) -> float:
    """How far the share found among so many rows may lie from the true one by chance: three standard deviations of a binomial variable."""
    return 3 * sqrt(share * (1 - share) / rows)


def usual_mix(mixes: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """The usual shares of a column's values (mean of its last batches); None while too little is known."""
    if len(mixes) < ENOUGH_DAYS:
        return None
    total: dict[str, float] = defaultdict(float)
    for mix in mixes[-ALL_DAYS:]:
        for value, share in mix.items():
            total[value] += share / len(mixes[-ALL_DAYS:])
    return dict(total)


def stability_index(mix: Mapping[str, float], usual: Mapping[str, float]) -> float:
    """The population stability index of a mix against the usual: 0 if they are the same; what the usual does not know is one value more."""
    known = {value: mix.get(value, 0.0) for value in usual if value}
    known[""] = max(0.0, 1 - sum(known.values()))
    pairs = [(max(share, _RARE), max(usual.get(value, 0.0), _RARE)) for value, share in known.items()]
    return sum((now - was) * log(now / was) for now, was in pairs)


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """The Kolmogorov-Smirnov distance of two columns, from their quantiles (0, 1/STEPS, ..., 1): exact to 1/STEPS."""
    points = {*one, *other}
    return max(abs(_below(one, point) - _below(other, point)) for point in points)


def _below(quantiles: Sequence[float], point: float) -> float:
    """The share of a column's rows that are not above a point."""
    return bisect_right(quantiles, point) / len(quantiles)


def shift(spread: Sequence[float], past: Sequence[Sequence[float]], rows: int) -> float | None:
    """How far a column's values lie from the usual ones beyond twice what its own past did, and beyond chance.

    1 is another unit: no value is where values used to be. The usual is the median of each quantile. None while too little is known.
    """
    recent = past[-ALL_DAYS:]
    if len(past) < ENOUGH_DAYS or rows < FEW_FOR_A_MIX:
        return None
    usual = [median(points) for points in zip(*recent, strict=True)]
    swings = max(distance(one, usual) for one in recent)
    return distance(spread, usual) - 2 * swings - _CHANCE / sqrt(rows)


def crowding(share: float, past: Sequence[float], rows: int) -> float | None:
    """How far the share of the commonest value of a column lies above twice the most that its own past came to, and above chance.

    A farm of bots, or one account for all: a few listeners, or one track, with what used to be of many. None while too little is known.
    """
    if len(past) < ENOUGH_DAYS or rows < FEW_FOR_A_MIX:
        return None
    most = max(past[-ALL_DAYS:])
    return share - 2 * most - chance_of(most, rows)


def clock(mix: Mapping[str, float], past: Sequence[Mapping[str, float]], rows: int) -> tuple[float | None, int]:
    """How much likelier a day's hours are in the usual day turned by some hours than in it as it is, beyond its own past; and the hours.

    A likelihood ratio, of which 1 is what a day comes to whose clock is off by just so many hours; an undisturbed day lies around -1.
    Chance moves it the less the more rows there are, so a day is asked to swing twice as far as nearly all of the past ones did (a day with
    an outage may be among them). Above 0 the clock is off. None while too little is known.
    """
    usual = usual_mix(past)
    if usual is None or len(past) < ENOUGH_FOR_A_CLOCK or rows < FEW_FOR_A_CLOCK:
        return None, 0
    days = np.array([[one.get(str(hour), 0.0) + _RARE for hour in range(24)] for one in (usual, mix, *past[-ALL_DAYS:])])
    days /= days.sum(axis=1, keepdims=True)
    turned = np.array([np.roll(days[0], hours) for hours in range(1, 24)])
    ratios = np.log(turned / days[0])
    likelier = days[1:] @ ratios.T
    degrees = likelier / np.maximum((turned * ratios).sum(axis=1), _RARE)
    hours = int(likelier[0].argmax()) + 1
    swing = float(np.quantile(degrees[1:].max(axis=1), 0.93))
    return float(degrees[0].max()) - max(0.0, 2 * swing + 1), hours if hours <= 12 else hours - 24


def novelty(mix: Mapping[str, float], past: Sequence[Mapping[str, float]], rows: int) -> float | None:
    """The share of rows with a value that none of the last weeks had; of values too many to be remembered, beyond the share of those.

    Unlike a skew it can be told of few rows. None while too little is known.
    """
    if len(past) < ENOUGH_DAYS or rows < FEW_FOR_NOVELTY:
        return None
    known = {value for one in past[-ALL_DAYS:] for value in one}
    others = max(one.get("", 0.0) for one in past[-ALL_DAYS:])
    return max(0.0, sum(share for value, share in mix.items() if value not in known) - others)


def beyond(spread: Sequence[float], past: Sequence[Sequence[float]], rows: int) -> float | None:
    """The share of a column's values below or above all that the last weeks held. None while too little is known."""
    if len(past) < ENOUGH_DAYS or rows < FEW_FOR_NOVELTY:
        return None
    least, most = min(one[0] for one in past[-ALL_DAYS:]), max(one[-1] for one in past[-ALL_DAYS:])
    return sum(not least <= point <= most for point in spread) / len(spread)


def skew(mix: Mapping[str, float], past: Sequence[Mapping[str, float]], rows: int) -> float | None:
    """How far a mix lies from the usual one beyond twice what its own past did, and beyond chance; None while too little is known.

    Few listeners with many plays each make any day's mix swing, so a source is compared with how far it swings itself. Above 0.25 these are
    other people: the usual reading of the index.
    """
    usual = usual_mix(past)
    if usual is None or rows < FEW_FOR_A_MIX:
        return None
    swings = max(stability_index(one, usual) for one in past[-ALL_DAYS:])
    return stability_index(mix, usual) - 2 * swings - 3 * len(usual) / rows


def chi_square(mix: Mapping[str, float], past: Sequence[Mapping[str, float]], rows: int) -> float | None:
    """Pearson's statistic of a mix against the usual one, as a multiple of what is believable: above 1 it is another mix.

    Believable is twice what the source's own past came to (plays of one listener are not drawn one by one), and chance beside it: one
    sample in a thousand of so many rows lies beyond, by the approximation of Wilson and Hilferty (1931). None while too little is known.
    """
    usual = usual_mix(past)
    if usual is None or rows < FEW_FOR_A_MIX:
        return None
    swings = max(_pearson(one, usual) for one in past[-ALL_DAYS:])
    freedom = max(1, len(usual) - 1)
    chance = freedom * (1 - 2 / (9 * freedom) + _FAR * sqrt(2 / (9 * freedom))) ** 3
    return _pearson(mix, usual) / (2 * swings + chance / rows)


def _pearson(mix: Mapping[str, float], usual: Mapping[str, float]) -> float:
    """Pearson's statistic of one row: the squared differences of the shares, each by its usual share."""
    values = {*mix, *usual}
    return sum((mix.get(value, 0.0) - usual.get(value, 0.0)) ** 2 / max(usual.get(value, 0.0), _RARE) for value in values)
