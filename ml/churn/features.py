"""What was known of a payer at the end of an as-of day: the running period, and six weeks of listening before it.

No row or column that speaks of a later day is read: not the running totals of `listener_facts`, and of a period only what was settled
when it began. Its end is the one that its plan announces, for the real one may have been moved since. A test changes every later row and
finds the same features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from ml.problem import Array, Examples, Frame, Marts, Rows, TooLittle, require

HORIZON_DAYS: Final = 31
FEWEST_DAYS: Final = 14  # of listening that must lie before an as-of day
SNAPSHOT_DAYS: Final = 7
MOST_SNAPSHOTS: Final = 40
MOST_LISTENERS: Final = 40_000  # of those that are learned from; more of the same kind teach little, and all are answered for
BACK: Final = 42  # days of listening that are looked at: the last 14 and the 28 before them
PRICE_DAYS: Final = 60  # a price that rose longer ago is the usual price
LONGEST_TENURE: Final = 365
_USUAL_SKIPS: Final = 2.0  # two skips in eight plays: what is assumed of a listener of whom little is known
_USUAL_PLAYS: Final = 8.0

# Few and well known ones: recency, frequency, trend, annoyance, age, and where in the period and at which price the payer stands. With some
# dozens of leavers in a small tenant's history, each further column teaches more noise than truth.
FEATURES: Final = (
    "days_to_end", "period_days", "tenure_days", "is_auto_renew_off", "price_rise", "plays_28", "trend_7", "trend_14", "skip_ratio",
    "active_days_14", "days_since_play",
)  # fmt: skip
DIRECTIONS: Final[Mapping[str, int]] = {
    "is_auto_renew_off": 1, "price_rise": 1, "trend_7": -1, "trend_14": -1, "skip_ratio": 1, "active_days_14": -1, "days_since_play": 1,
}  # fmt: skip
"""The way in which more of a feature may change the probability, everything else being equal."""
WATCHED: Final = ("plays_28", "skip_ratio", "active_days_14", "days_since_play")
"""Tenure and what is known of trends grow with the history itself: that is no drift."""

_NEEDED: Final[Mapping[str, Sequence[str]]] = {
    "subscription_periods": (
        "listener_key", "subscription_id", "plan_id", "kind", "billing_period", "price_amount", "price_country", "period_from_on",
        "period_to_on", "settles_on", "churned_on",
    ),
    "listener_days": ("listener_key", "played_on", "play_count", "skip_count"),
}  # fmt: skip

_QUERY: Final = """
WITH as_of AS (
    SELECT as_of::date FROM unnest(%(as_ofs)s::date[]) AS days (as_of)
),
periods AS (
    SELECT
        *,
        coalesce(
            (period_from_on + CASE billing_period WHEN 'year' THEN interval '1 year' WHEN 'month' THEN interval '1 month' END)::date,
            period_to_on
        ) AS announced_to_on
    FROM subscription_periods
    WHERE kind = 'paid'
),
running AS (  -- the paid period of each payer on each day: of two at once, the one that ends last
    SELECT DISTINCT ON (a.as_of, p.listener_key)
        a.as_of, p.*, {auto_renew_off} AS was_auto_renew_off
    FROM as_of AS a
    INNER JOIN periods AS p ON p.period_from_on <= a.as_of AND p.period_to_on > a.as_of
    WHERE p.listener_key COLLATE "C" < %(below)s
    ORDER BY a.as_of, p.listener_key, p.announced_to_on DESC, p.subscription_id
),
payers AS (
    SELECT * FROM running WHERE announced_to_on <= as_of + %(horizon)s
),
first_periods AS (
    SELECT listener_key, min(period_from_on) AS first_on FROM subscription_periods GROUP BY listener_key
),
prices AS (  -- what a plan cost on an as-of day and some time before, told by the periods that had begun
    SELECT
        a.as_of, p.plan_id, p.price_country,
        (array_agg(p.price_amount ORDER BY p.period_from_on DESC, p.price_amount DESC))[1] AS now_amount,
        coalesce(
            (
                array_agg(p.price_amount ORDER BY p.period_from_on DESC, p.price_amount)
                FILTER (WHERE p.period_from_on <= a.as_of - %(price_days)s)
            )[1],
            (array_agg(p.price_amount ORDER BY p.period_from_on, p.price_amount))[1]
        ) AS before_amount
    FROM as_of AS a
    INNER JOIN (SELECT DISTINCT plan_id, price_country, period_from_on, price_amount FROM periods WHERE price_amount > 0) AS p
        ON p.period_from_on <= a.as_of
    GROUP BY a.as_of, p.plan_id, p.price_country
),
heard AS (
    SELECT
        r.as_of AS heard_until_on, r.listener_key, max(d.played_on) AS last_on,
        {sums}
    FROM payers AS r
    INNER JOIN listener_days AS d
        ON d.listener_key = r.listener_key AND d.play_count > 0 AND d.played_on <= r.as_of AND d.played_on > r.as_of - %(back)s
    GROUP BY r.as_of, r.listener_key
)
SELECT
    r.as_of, r.listener_key, r.period_from_on, r.period_to_on, r.announced_to_on, r.settles_on, r.churned_on, r.was_auto_renew_off,
    b.first_on, f.country, f.signed_up_on, (c.now_amount / c.before_amount)::double precision AS price_ratio, h.last_on, {names}
FROM payers AS r
INNER JOIN first_periods AS b ON b.listener_key = r.listener_key
LEFT JOIN {listeners} AS f ON f.listener_key = r.listener_key
LEFT JOIN prices AS c ON c.as_of = r.as_of AND c.plan_id = r.plan_id AND c.price_country = r.price_country
LEFT JOIN heard AS h ON h.heard_until_on = r.as_of AND h.listener_key = r.listener_key
ORDER BY r.as_of, r.listener_key COLLATE "C"
"""
_SUMMED: Final = (
    *((f"plays_{window}", "sum(d.play_count)", window) for window in (7, 14, 28, BACK)),
    ("skips_28", "sum(d.skip_count)", 28),
    ("active_days_14", "count(*)", 14),
)
_SUMS: Final = tuple(name for name, _, _ in _SUMMED)


def gather(marts: Marts, day: date) -> Examples:
    """Payers on each seventh day before `day` whose period has ended since and whose outcome is final.

    An outcome is final FINAL_AFTER_DAYS after it was settled, which is CHURN_GRACE_DAYS after the end: a younger one would be a guess.
    """
    require(marts, _NEEDED)
    first = _first_day(marts)
    final = day - timedelta(days=_final_after_days(marts, day))
    as_ofs = [day - timedelta(days=SNAPSHOT_DAYS * back) for back in range(1, (day - first).days // SNAPSHOT_DAYS + 1)]
    as_ofs = [as_of for as_of in as_ofs if first + timedelta(days=FEWEST_DAYS - 1) <= as_of < final][:MOST_SNAPSHOTS]
    if not as_ofs:
        raise TooLittle(f"listening is known from {first}: no payer's outcome can be final by {day}")
    payers = _read(marts, as_ofs, below=_sample(marts))
    kept = payers["settles_on"] <= np.datetime64(final)
    payers = {name: values[kept] for name, values in payers.items()}
    return Examples(
        features=FEATURES,
        x=describe(payers, first),
        y=(~np.isnat(payers["churned_on"])).astype(np.float64),
        moments=payers["period_to_on"],
        groups=_numbers(payers["listener_key"]),
        segments=np.array([country or "unknown" for country in payers["country"]], dtype=str),
        more={"as_of": payers["as_of"]},
    )


def today(marts: Marts, day: date) -> Rows:
    """Every payer whose period is announced to end within 31 days after `day`."""
    require(marts, _NEEDED)
    first = _first_day(marts)
    if first + timedelta(days=FEWEST_DAYS - 1) > day:
        raise TooLittle(f"listening is known from {first}: less than {FEWEST_DAYS} days")
    payers = _read(marts, [day], below="g")
    return Rows(FEATURES, describe(payers, first), {"listener_key": payers["listener_key"]})


def describe(payers: Frame, first: date) -> Array:
    """The features of rows as the query gives them; rates are per day that could have been listened, from the `first` known day on."""
    as_of = payers["as_of"]
    days = (as_of - np.datetime64(first)).astype(np.int64) + 1.0  # of listening that are known
    counts = {name: np.nan_to_num(payers[name]) for name in _SUMS}
    week, fortnight, month, all_plays = (counts[f"plays_{window}"] for window in (7, 14, 28, BACK))
    started = np.fmin(payers["signed_up_on"], payers["first_on"])
    columns = (
        _days_between(as_of, payers["announced_to_on"]),
        _days_between(payers["period_from_on"], payers["announced_to_on"]),
        np.minimum(_days_between(started, as_of), LONGEST_TENURE),
        payers["was_auto_renew_off"],
        np.log(payers["price_ratio"]),
        month / np.minimum(28.0, days),
        _trend(week, month - week, 7, np.minimum(21.0, days - 7)),
        _trend(fortnight, all_plays - fortnight, 14, np.minimum(28.0, days - 14)),
        (counts["skips_28"] + _USUAL_SKIPS) / (month + _USUAL_PLAYS),
        counts["active_days_14"],
        np.where(np.isnat(payers["last_on"]), np.minimum(days, BACK), _days_between(payers["last_on"], as_of)),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def results(rows: Rows, predictions: Array, settled: Mapping[str, Any], day: date, version: str) -> Iterator[tuple[Any, ...]]:
    """The rows of `churn_predictions`."""
    for listener, probability in zip(rows.keys["listener_key"], predictions[:, 0], strict=True):
        yield str(listener), day, round(float(probability), 6), HORIZON_DAYS, version


# reading -----------------------------------------------------------------------------------------------------------------


def _read(marts: Marts, as_ofs: Sequence[date], *, below: str) -> Frame:
    """The payers of these days whose key is below `below`."""
    dated = "auto_renew_off_on" in marts.columns("subscription_periods")
    known = {"country", "signed_up_on"} <= marts.columns("listener_facts")
    query = _QUERY.format(
        sums=", ".join(f"{what} FILTER (WHERE d.played_on > r.as_of - {window}) AS {name}" for name, what, window in _SUMMED),
        names=", ".join(f"h.{name}" for name in _SUMS),
        # A tenant that delivers no listeners knows neither where they live nor when they signed up.
        listeners="listener_facts" if known else "(SELECT NULL AS listener_key, NULL AS country, NULL::date AS signed_up_on)",
        # Whether renewal is off by now says nothing of an earlier day: only the day on which it was turned off does.
        auto_renew_off="coalesce(p.auto_renew_off_on <= a.as_of, false)" if dated else "NULL::boolean",
    )
    return marts.read(query, as_ofs=list(as_ofs), horizon=HORIZON_DAYS, back=BACK, price_days=PRICE_DAYS, below=below)


def _first_day(marts: Marts) -> date:
    """The first day of which listening is known."""
    found = marts.read("SELECT min(played_on) AS first_on FROM listener_days")["first_on"]
    if np.isnat(found[0]):
        raise TooLittle("nobody has listened yet")
    first: date = found[0].item()
    return first


def _sample(marts: Marts) -> str:
    """The key below which about MOST_LISTENERS payers lie: keys are HMACs, so a prefix is a fair draw, and the same one every night."""
    payers = marts.read("SELECT count(DISTINCT listener_key) AS payers FROM subscription_periods WHERE kind = 'paid'")["payers"][0]
    return "g" if payers <= MOST_LISTENERS else f"{int(MOST_LISTENERS / payers * 16**8):08x}"


def _final_after_days(marts: Marts, day: date) -> int:
    """FINAL_AFTER_DAYS as it is in force on `day`."""
    return [int(entry.value) for entry in marts.tenant.rules.final_after_days if entry.since <= day][-1]


def _numbers(keys: Array) -> Array:
    """A number for each listener that does not name them: it is made anew for every set of examples."""
    _, numbers = np.unique(keys.astype(str), return_inverse=True)
    return np.asarray(numbers, dtype=np.int64)


def _days_between(begin: Array, end: Array) -> Array:
    length = (end - begin).astype("timedelta64[D]")
    return np.where(np.isnat(length), np.nan, length.astype(np.float64))


def _trend(recent: Array, earlier: Array, window: int, days: Array) -> Array:
    """Logarithm of the plays of `window` days over what the `days` before them would give; unknown before a week of those is known.

    A play and a half on both sides keeps a listener of few plays from extremes.
    """
    usual = earlier * window / np.maximum(days, 1.0)
    trend: Array = np.where(days >= 7, np.log((recent + 1.5) / (usual + 1.5)), np.nan)
    return trend
