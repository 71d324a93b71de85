"""The definitions of acquisition once more, in plain Python: exact fractions where money would be exact, SciPy where a distribution is asked."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from scipy import stats

from tests.integration.marts.world import Row

Key = tuple[Any, ...]
Table = dict[Key, Row]
Credits = dict[str, Fraction]

KEYS = {
    "touchpoints": ("touchpoint_id",),
    "attribution_months": ("month_on", "channel"),
    "listener_journeys": ("listener_key",),
    "funnel_weeks": ("cohort_on", "channel", "step_number"),
    "experiment_variants": ("experiment_id", "variant"),
}
NOBODY = "(unattributed)"
RULES = ("first_touch", "last_touch", "linear", "time_decay", "position", "markov")
START, CONVERTED, LOST = "start", "converted", "lost"


@dataclass(frozen=True)
class Path:
    """Channels in their order, and how old each contact was at the path's end."""

    on: date
    is_converted: bool
    channels: tuple[str, ...]
    ages: tuple[timedelta, ...]


@dataclass(frozen=True)
class Acquisition:
    """What is needed to say what the domain's marts hold."""

    rows: Mapping[str, Sequence[Row]]
    periods: Sequence[Row]
    today: date
    currency: str
    rate: Callable[[str, date], Decimal | None]
    rule: Callable[[str, date], Any]
    week_of: Callable[[date], date]

    def all(self) -> dict[str, Table]:
        """Every mart of the domain that the tenant has."""
        contacts: dict[str, list[Row]] = defaultdict(list)
        for row in sorted(self.rows["touchpoints"], key=lambda one: (one["touched_at"], one["touchpoint_id"])):
            contacts[row["listener_key"]].append(row)
        paid: dict[str, Row] = {}
        for period in sorted((one for one in self.periods if one["kind"] == "paid"), key=lambda one: one["opened_at"]):
            paid.setdefault(period["listener_key"], period)
        found = {
            "touchpoints": {
                (row["touchpoint_id"],): {"channel": row["channel"], "cost_amount": self._cost(row)} for row in self.rows["touchpoints"]
            },
            "attribution_months": self._months(contacts, paid),
            "listener_journeys": self._journeys(contacts),
        }
        found["funnel_weeks"] = self._funnel(found["listener_journeys"])
        if "exposures" in self.rows:
            found["experiment_variants"] = self._experiments(paid)
        return found

    def _cost(self, row: Row) -> Decimal | None:
        if row.get("cost_amount") is None or row.get("currency") is None:
            return None
        rate = self.rate(row["currency"], row["touched_on"])
        return None if rate is None else _rounded(Fraction(str(row["cost_amount"])) * Fraction(rate), 6)

    # attribution ---------------------------------------------------------------------------------------------------------
    def _months(self, contacts: Mapping[str, list[Row]], paid: Mapping[str, Row]) -> Table:
        paths: dict[date, list[Path]] = defaultdict(list)
        for listener in contacts.keys() | paid.keys():
            path = _path(contacts.get(listener, []), paid.get(listener))
            if path.is_converted or path.on + timedelta(30) <= self.today:
                paths[path.on.replace(day=1)].append(path)
        found: Table = {}
        for row in self.rows["touchpoints"]:
            numbers = found.setdefault((row["touched_on"].replace(day=1), row["channel"]), _nothing())
            numbers["touchpoint_count"] += 1
            if (cost := self._cost(row)) is not None:
                numbers["cost_amount"] = (numbers["cost_amount"] or 0) + cost
        for month, of_month in paths.items():
            for channel in {channel for path in of_month for channel in path.channels}:
                met = [path for path in of_month if channel in path.channels]
                numbers = found.setdefault((month, channel), _nothing())
                numbers |= {"path_count": len(met), "converted_path_count": sum(path.is_converted for path in met)}
            converted = [path for path in of_month if path.is_converted]
            for rule in RULES:
                credits = _markov(of_month) if rule == "markov" else _added(_shares(rule, path) for path in converted if path.channels)
                for channel, credit in _split(credits, sum(bool(path.channels) for path in converted)).items():
                    found[month, channel][f"{rule}_credit"] = credit
            if bare := sum(not path.channels for path in converted):
                found[month, NOBODY] = _nothing() | {f"{rule}_credit": Decimal(bare) for rule in RULES}
        return found

    # funnel --------------------------------------------------------------------------------------------------------------
    def _journeys(self, contacts: Mapping[str, list[Row]]) -> Table:
        accounts = {row["listener_key"]: row for row in self.rows["listeners"]}
        found: Table = {}
        for listener, rows in contacts.items():
            first, account = rows[0], accounts.get(listener, {})
            signed_up = account.get("signed_up_at")
            if signed_up is not None and signed_up < first["touched_at"]:
                continue
            later = [p for p in self.periods if p["listener_key"] == listener and signed_up is not None and p["opened_at"] >= signed_up]
            found[listener,] = {
                "entered_on": first["touched_on"],
                "channel": first["channel"],
                "campaign_id": first.get("campaign_id"),
                "country": account.get("country"),
                "entered_at": first["touched_at"],
                "signed_up_at": signed_up,
                "subscribed_at": min((p["opened_at"] for p in later), default=None),
                "paid_at": min((p["opened_at"] for p in later if p["kind"] == "paid"), default=None),
            }
        return found

    def _funnel(self, journeys: Table) -> Table:
        cohorts: dict[Key, list[Row]] = defaultdict(list)
        for journey in journeys.values():
            cohorts[self.week_of(journey["entered_on"]), journey["channel"]].append(journey)
        steps = ("entered_at", "signed_up_at", "subscribed_at", "paid_at")
        found: Table = {}
        for (week, channel), members in cohorts.items():
            is_mature = week + timedelta(6 + 60) <= self.today
            before = None
            for number, step in enumerate(steps, start=1):
                there = [one for one in members if one[step] is not None and one[step] - one["entered_at"] <= timedelta(days=60)]
                took = [(one[step] - one[steps[number - 2]]).total_seconds() for one in there] if number > 1 else []
                row = {
                    "reached_count": len(there),
                    "step_conversion_ratio": len(there) / before if before else None,
                    "entry_conversion_ratio": len(there) / len(members),
                    "seconds_p50": _percentile(took, 0.5),
                    "seconds_p90": _percentile(took, 0.9),
                }
                before = len(there)
                names = ("touched", "signed_up", "subscribed", "paid")
                known = {"listener_count": len(members), "step": names[number - 1]}
                found[week, channel, number] = known | (row if is_mature else dict.fromkeys(row))
        return found

    # experiments ---------------------------------------------------------------------------------------------------------
    def _experiments(self, paid: Mapping[str, Row]) -> Table:
        exposed: dict[Key, list[Row]] = defaultdict(list)
        for row in self.rows["exposures"]:
            exposed[row["experiment_id"], row["variant"]].append(row)
        found: Table = {}
        for experiment in {experiment for experiment, _ in exposed}:
            names = sorted(variant for one, variant in exposed if one == experiment)
            control = "control" if "control" in names else names[0]
            counts = {name: self._counts(exposed[experiment, name], paid) for name in names}
            sizes = [counts[name]["exposed_count"] for name in names]
            ratio_p = float(stats.chisquare(sizes).pvalue) if len(names) > 1 else None
            for name in names:
                own, its = counts[name], counts[control]
                more = compared(own["converted_count"], own["judged_count"], its["converted_count"], its["judged_count"])
                shown = dict.fromkeys(more) if name == control else more
                found[experiment, name] = own | shown | {"is_control": name == control, "sample_ratio_p_value": ratio_p}
        return found

    def _counts(self, rows: Sequence[Row], paid: Mapping[str, Row]) -> Row:
        judged = converted = 0
        for row in rows:
            on, period = row["exposed_on"], paid.get(row["listener_key"])
            until = on + timedelta(self.rule("trial_days", on) + self.rule("grace_days", on))
            if until > self.today or (period is not None and period["opened_at"] < row["exposed_at"]):
                continue
            judged += 1
            converted += period is not None and period["opened_on"] <= until
        return {
            "first_exposed_on": min(row["exposed_on"] for row in rows),
            "last_exposed_on": max(row["exposed_on"] for row in rows),
            "exposed_count": len(rows),
            "judged_count": judged,
            "converted_count": converted,
            "conversion_ratio": converted / judged if judged else None,
        }


def _path(contacts: Sequence[Row], period: Row | None) -> Path:
    end: datetime = period["opened_at"] if period else contacts[-1]["touched_at"]
    on: date = period["opened_on"] if period else max(row["touched_on"] for row in contacts)
    kept = [row for row in contacts if timedelta(0) <= end - row["touched_at"] <= timedelta(days=30)]
    return Path(on, period is not None, tuple(row["channel"] for row in kept), tuple(end - row["touched_at"] for row in kept))


def _nothing() -> Row:
    counts: Row = {"path_count": 0, "converted_path_count": 0, "touchpoint_count": 0, "cost_amount": None}
    return counts | {f"{rule}_credit": Decimal(0) for rule in RULES}


def _shares(rule: str, path: Path) -> Credits:
    """What each channel of one conversion gets."""
    n = len(path.channels)
    if rule == "first_touch":
        weights = [Fraction(place == 0) for place in range(n)]
    elif rule == "last_touch":
        weights = [Fraction(place == n - 1) for place in range(n)]
    elif rule == "linear":
        weights = [Fraction(1)] * n
    elif rule == "time_decay":
        many = Context(prec=50)
        weights = [Fraction(many.power(Decimal(2), many.divide(-_seconds(age), Decimal(604_800)))) for age in path.ages]
    elif n > 2:
        weights = [Fraction(2, 5), *[Fraction(1, 5) / (n - 2)] * (n - 2), Fraction(2, 5)]
    else:
        weights = [Fraction(1)] * n
    return _added({channel: weight / sum(weights)} for channel, weight in zip(path.channels, weights, strict=True))


def _seconds(age: timedelta) -> Decimal:
    return Decimal(age // timedelta(microseconds=1)) / 1_000_000


def _added(shares: Iterable[Credits]) -> Credits:
    total: Credits = defaultdict(Fraction)
    for one in shares:
        for channel, share in one.items():
            total[channel] += share
    return total


def _markov(paths: Sequence[Path]) -> Credits:
    """Removal effects, by solving the chain exactly."""
    moves: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths:
        if path.channels:
            steps = [START, *path.channels, CONVERTED if path.is_converted else LOST]
            for here, there in pairwise(steps):
                moves[here][there] += 1
    channels = sorted(moves.keys() - {START})
    chance = _arrives(moves, channels, None)
    if not chance:
        return {}
    effects = {channel: 1 - _arrives(moves, channels, channel) / chance for channel in channels}
    converted = sum(path.is_converted and bool(path.channels) for path in paths)
    return {channel: converted * effect / sum(effects.values()) for channel, effect in effects.items()}


def _arrives(moves: Mapping[str, Counter[str]], channels: Sequence[str], removed: str | None) -> Fraction:
    """The chance that a path from the start ends in a conversion: Gauss-Jordan over the channels that are left."""
    left = [channel for channel in channels if channel != removed]

    def rate(here: str, there: str) -> Fraction:
        return Fraction(moves[here][there], sum(moves[here].values()))

    system = [[Fraction(a == b) - rate(a, b) for b in left] + [rate(a, CONVERTED)] for a in left]
    for column in range(len(left)):
        pivot = next(row for row in range(column, len(left)) if system[row][column])
        system[column], system[pivot] = system[pivot], system[column]
        system[column] = [value / system[column][column] for value in system[column]]
        for row in range(len(left)):
            if row != column and (factor := system[row][column]):
                system[row] = [value - factor * unit for value, unit in zip(system[row], system[column], strict=True)]
    return sum((rate(START, channel) * system[n][-1] for n, channel in enumerate(left)), Fraction(0))


def _split(credits: Credits, total: int) -> dict[str, Decimal]:
    """To the millionth by largest remainder; of equal remainders the channel that is first by name. Told apart to 12 places."""
    claims = {channel: Fraction(_rounded(credit, 12)) * 1_000_000 for channel, credit in credits.items()}
    units = {channel: math.floor(claim) for channel, claim in claims.items()}
    left = total * 1_000_000 - sum(units.values()) if claims else 0
    for channel in sorted(claims, key=lambda one: (units[one] - claims[one], one))[:left]:
        units[channel] += 1
    return {channel: Decimal(unit) / 1_000_000 for channel, unit in units.items()}


def _rounded(value: Fraction, places: int) -> Decimal:
    """Half away from zero, as money is."""
    many = Context(prec=60, rounding=ROUND_HALF_UP)
    return many.divide(Decimal(value.numerator), Decimal(value.denominator)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _percentile(values: Sequence[float], share: float) -> float | None:
    """Between the two nearest values, in proportion."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def compared(converted: int, judged: int, control_converted: int, control_judged: int) -> Row:
    """What is said of a variant beside its control."""
    nothing = dict.fromkeys((
        "difference_ratio", "difference_low_ratio", "difference_high_ratio", "p_value", "sequential_p_value", "sequential_low_ratio",
        "sequential_high_ratio", "minimum_detectable_difference_ratio",
    ))  # fmt: skip
    if not judged or not control_judged:
        return nothing
    z = float(stats.norm.ppf(0.975))
    p, q = converted / judged, control_converted / control_judged
    difference = p - q
    (low, high), (its_low, its_high) = (_wilson(one, n, z) for one, n in ((p, judged), (q, control_judged)))
    sizes = 1 / judged + 1 / control_judged
    pool = (converted + control_converted) / (judged + control_judged)
    found = nothing | {
        "difference_ratio": difference,
        "difference_low_ratio": difference - math.hypot(p - low, its_high - q),
        "difference_high_ratio": difference + math.hypot(high - p, q - its_low),
    }
    if 0 < pool < 1:
        found["p_value"] = float(2 * stats.norm.sf(abs(difference) / math.sqrt(pool * (1 - pool) * sizes)))
    variance = p * (1 - p) / judged + q * (1 - q) / control_judged
    if variance:
        found |= always_valid(difference, variance)
    if 0 < q < 1:
        error = math.sqrt(q * (1 - q) * sizes)
        found["minimum_detectable_difference_ratio"] = (z + float(stats.norm.ppf(0.8))) * error
    return found


def _wilson(ratio: float, n: int, z: float) -> tuple[float, float]:
    centre, spread = ratio + z * z / (2 * n), z * math.sqrt(ratio * (1 - ratio) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def always_valid(difference: float, variance: float, tau: float = 0.05, alpha: float = 0.05) -> Row:
    """The mixture of likelihood ratios of N(effect, variance) over effects from N(0, tau^2), and the effects that it does not rule out."""

    def mixture(effect: float) -> float:
        """Of the data under the mixture around `effect` / under `effect` alone: both are normal densities."""
        away = difference - effect
        return float(stats.norm.logpdf(away, 0, math.sqrt(variance + tau**2)) - stats.norm.logpdf(away, 0, math.sqrt(variance)))

    # the mixture grows with the distance from the data: where it comes to 1 / alpha is found by halving
    near, far = 0.0, 10.0
    for _ in range(200):
        middle = (near + far) / 2
        near, far = (middle, far) if mixture(difference - middle) < math.log(1 / alpha) else (near, middle)
    return {
        "sequential_p_value": min(1.0, math.exp(-mixture(0.0))),
        "sequential_low_ratio": difference - near,
        "sequential_high_ratio": difference + near,
    }
