"""Station: what changed in a tenant's numbers, and which member of which dimension explains it, in words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from statistics import median

from nocturne.insights.baselines import MAD_TO_DEVIATION, WEEKS, Comparison, compare, compare_share, is_of_the_month, lasting
from nocturne.insights.findings import Finding, findings_of, ranked
from nocturne.insights.hours import silent_hours
from nocturne.insights.metrics import METRICS, Metric
from nocturne.insights.reading import Marts, Series
from nocturne.insights.wording import sentence
from nocturne.ledger import Marks, utc_now
from nocturne.postgres import Connection, connect, statement
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

__all__ = ["find_insights"]

_WEEK_DEVIATION, _WEEK_CHANGE, _STEADIEST_WEEK = 2.5, 0.1, 0.04

_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    insight_id text PRIMARY KEY,
    found_on date NOT NULL,
    rank integer NOT NULL,
    scope text NOT NULL CHECK (scope IN ('total', 'week', 'member')),
    metric text NOT NULL,
    dimension text,
    member text,
    member_name text,
    value double precision NOT NULL,
    expected double precision NOT NULL,
    change_ratio double precision NOT NULL,
    contribution_ratio double precision,
    deviation double precision NOT NULL,
    severity text NOT NULL CHECK (severity IN ('high', 'medium', 'low')),
    text text NOT NULL
);
CREATE INDEX IF NOT EXISTS insights_by_day ON {table} (found_on, rank);
COMMENT ON TABLE {table} IS 'What changed on a day and why. Grain: one finding of one day.';
COMMENT ON COLUMN {table}.insight_id IS 'Stable: the same finding of the same day has the same id in every run.';
COMMENT ON COLUMN {table}.scope IS 'Whose value it is: the metric''s of the day, of the week that ends on the day, or a member''s.';
COMMENT ON COLUMN {table}.dimension IS 'What the member is one of; NULL: nothing in particular explains the change.';
COMMENT ON COLUMN {table}.expected IS 'Median of the same weekdays (or weeks) of the four weeks before, a day''s moved by the trend.';
COMMENT ON COLUMN {table}.contribution_ratio IS 'The member''s part of the total''s change; above 1 where others moved against it.';
COMMENT ON COLUMN {table}.deviation IS 'The change in robust standard deviations of the series.';
"""


def find_insights(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Compare `day` with the same weekdays of the four weeks before it, and say what changed and what explains it.

    Reads the published marts (those that the tenant has) as the tenant's owner; replaces the day's rows of `<slug>_ml.insights` in the
    transaction that read them, so that a re-run leaves the same rows. Raises BuildFailed if a mart lacks a column that a metric reads.
    """
    started = utc_now()
    entries: list[Entry] = []
    found: list[Finding] = []
    with connect(settings, role=tenant.owner_role) as connection:
        marts = Marts(connection, tenant.marts_schema)
        for metric in METRICS:
            if marts.has(metric):
                of_metric = _watch(tenant, marts, metric, day)
                entries.append(Entry(name=metric.name, counts={"findings": len(of_metric)}))
                found += of_metric
        if silence := _silence(tenant, marts, day):
            found.append(silence)
        told = ranked(found)
        _replace(connection, tenant, day, told)
    entries.append(
        Entry(name="insights", counts={"insights": len(told)}, facts={"texts": [sentence(one, day, tenant.currency) for one in told]})
    )
    return Receipt(tenant=tenant.slug, day=day, station="find_insights", started_at=started, finished_at=utc_now(), entries=tuple(entries))


def _watch(tenant: Tenant, marts: Marts, metric: Metric, day: date) -> list[Finding]:
    """The findings of one metric; none while its history is too short to compare with."""
    if (day - tenant.begins_on).days < metric.settles_after_days:
        return []
    series, weight = marts.total(metric, day)
    noise = metric.noise * (weight if metric.kind == "amount" else 1.0)
    total = compare_share(series, day, weight=weight) if metric.kind == "ratio" else compare(series, day, noise=noise)
    if total is None or (metric.follows_months and is_of_the_month(series, day, total)):
        return []
    members = {
        member: lasting(of_member, day, one)
        for dimension in marts.dimensions(metric)
        for member, of_member in marts.members(metric, dimension, min(series), day).items()
        if (one := compare(of_member, day, noise=noise)) is not None
    }
    found = findings_of(metric, lasting(series, day, total), members)
    if metric.adds_up and _ends_week(tenant, day) and (week := _week(metric, series, day, noise)):
        found.append(week)
    return found


def _silence(tenant: Tenant, marts: Marts, day: date) -> Finding | None:
    zone = tenant.zone_at(datetime.combine(day, time(12), UTC))
    earlier = [day - timedelta(weeks=week) for week in range(1, WEEKS + 1)]
    return silent_hours(marts.plays_by_hour([day, *earlier], zone.key), day, earlier, zone)


def _ends_week(tenant: Tenant, day: date) -> bool:
    return day.weekday() == (6 if tenant.week_start == "monday" else 5)


def _week(metric: Metric, series: Series, day: date, noise: float) -> Finding | None:
    """The week that ends on `day` against the four before it; None if they are not all known, or nothing changed."""
    sums = []
    for back in range(WEEKS + 1):
        days = [day - timedelta(weeks=back, days=number) for number in range(7)]
        if any(one not in series for one in days):
            return None
        sums.append(sum(series[one] for one in days))
    value, *earlier = sums
    expected = median(earlier)
    scatter = MAD_TO_DEVIATION * median(abs(one - expected) for one in earlier)
    spread = max(scatter, _STEADIEST_WEEK * expected, (noise * max(expected, 1.0)) ** 0.5)
    if not spread:
        return None
    one = Comparison(value, expected, (value - expected) / spread)
    if abs(one.deviation) < _WEEK_DEVIATION or abs(one.change) < _WEEK_CHANGE or abs(one.delta) < metric.worth:
        return None
    return Finding(metric, "week", one, "low", before=earlier[0])


def _replace(connection: Connection, tenant: Tenant, day: date, findings: Sequence[Finding]) -> None:
    schema = tenant.ml_schema
    connection.execute(statement(_TABLE.format(table=f"{schema}.insights")))
    connection.execute(statement(f"DELETE FROM {schema}.insights WHERE found_on = %s"), (day,))
    for rank, one in enumerate(findings, start=1):
        member = one.member
        identity = "\x1f".join((day.isoformat(), one.scope, one.metric.name, *((member.dimension, member.key) if member else ())))
        connection.execute(
            statement(
                f"INSERT INTO {schema}.insights (insight_id, found_on, rank, scope, metric, dimension, member, member_name,"
                " value, expected, change_ratio, contribution_ratio, deviation, severity, text)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            ),
            (
                hashlib.sha256(identity.encode()).hexdigest()[:32], day, rank, one.scope, one.metric.name,
                member.dimension if member else None, member.key if member else None, member.name if member else None,
                one.comparison.value, one.comparison.expected, one.comparison.change, one.contribution, one.comparison.deviation,
                one.severity, sentence(one, day, tenant.currency),
            ),
        )  # fmt: skip
