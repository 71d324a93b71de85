"""Series out of the published marts, few and small: the totals, and the members whose day differs most from their earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from nocturne.errors import BuildFailed
from nocturne.insights.baselines import HISTORY_DAYS, WEEKS
from nocturne.insights.findings import Member
from nocturne.insights.metrics import Dimension, Metric
from nocturne.postgres import Connection, statement

Series = Mapping[date, float]
CANDIDATES = 12  # members of a dimension that are looked at closely
_NAMES = {"track": ("track_id", "title"), "artist": ("artist_id", "artist_name")}


class Marts:
    """The published marts of a tenant, over one connection and in one transaction: one state of them."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        rows = connection.execute(
            statement("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s"), (schema,)
        ).fetchall()
        self._columns = {(str(mart), str(column)) for mart, column in rows}
        self._marts = {mart for mart, _ in self._columns}

    def has(self, metric: Metric) -> bool:
        """Whether the tenant has the metric's mart. Raises BuildFailed if it lacks a column of a mart that it has."""
        if absent := sorted(f"{mart}.{column}" for mart, column in metric.columns - self._columns if mart in self._marts):
            raise BuildFailed(
                f"The metric {metric.name} reads {', '.join(absent)} of {self._schema}, which is not there.",
                next_step="Correct the mart, or what the insights read of it.",
            )
        return metric.mart in self._marts

    def dimensions(self, metric: Metric) -> list[Dimension]:
        """The metric's dimensions whose mart the tenant has."""
        return [dimension for dimension in metric.dimensions if dimension.mart in self._marts]

    def total(self, metric: Metric, day: date) -> tuple[Series, float]:
        """The metric's series up to `day`, and its weight: of a ratio, how many it is a share of on the day; of an amount, the size of one.

        A sum is 0 on a day without rows, once the series has begun.
        """
        how = "avg" if metric.kind == "ratio" else "sum"
        rows = self._fetch(
            f"SELECT {metric.day}, {how}({metric.measure}), sum({metric.weight or metric.measure}) FROM {self._schema}.{metric.mart}"
            f" WHERE {metric.day} BETWEEN %s AND %s GROUP BY 1",
            (day - timedelta(days=HISTORY_DAYS), day),
        )
        series = {one: float(value) for one, value, _ in rows if value is not None}
        weights = {one: float(weight or 0) for one, _, weight in rows}
        if metric.kind == "ratio" or not series:
            return series, weights.get(day, 0.0)
        return _filled(series, min(series), day), sum(series.values()) / max(sum(weights.values()), 1.0)

    def members(self, metric: Metric, dimension: Dimension, first: date, day: date) -> dict[Member, Series]:
        """The series of the members whose `day` differs most from the same weekdays before it; 0 on days without rows from `first` on."""
        earlier = [day - timedelta(weeks=week) for week in range(1, WEEKS + 1)]
        table = f"{self._schema}.{dimension.mart}"
        candidates = self._fetch(
            f"SELECT {dimension.member} FROM {table} WHERE {metric.day} = ANY(%s) AND {dimension.member} IS NOT NULL GROUP BY 1"
            f" ORDER BY abs(coalesce(sum({metric.measure}) FILTER (WHERE {metric.day} = %s), 0)"
            f" - coalesce(sum({metric.measure}) FILTER (WHERE {metric.day} <> %s), 0) / {WEEKS}.0) DESC, 1 LIMIT {CANDIDATES}",
            ([day, *earlier], day, day),
        )
        keys = [str(key) for (key,) in candidates]
        rows = self._fetch(
            f"SELECT {dimension.member}, {metric.day}, sum({metric.measure}) FROM {table}"
            f" WHERE {dimension.member} = ANY(%s) AND {metric.day} BETWEEN %s AND %s GROUP BY 1, 2",
            (keys, day - timedelta(days=HISTORY_DAYS), day),
        )
        found: dict[str, dict[date, float]] = {key: {} for key in keys}
        for key, one, value in rows:
            found[str(key)][one] = float(value or 0)
        described = self._describe(dimension.name, keys)
        return {described[key]: _filled(series, first, day) for key, series in found.items()}

    def plays_by_hour(self, days: Sequence[date], zone: str) -> dict[date, dict[int, int]]:
        """Plays of each local hour of these event dates, as far as they were received by the end of the date; hours without any are absent.

        What came later is left out, because the newest date cannot have it yet.
        """
        if ("plays", "played_at") not in self._columns:
            return {}
        rows = self._fetch(
            f"SELECT played_on, extract(hour FROM played_at AT TIME ZONE %s)::int, count(*) FROM {self._schema}.plays"
            " WHERE played_on = ANY(%s) AND received_on <= played_on GROUP BY 1, 2",
            (zone, list(days)),
        )
        found: dict[date, dict[int, int]] = {}
        for day, hour, count in rows:
            found.setdefault(day, {})[hour] = count
        return found

    def _describe(self, dimension: str, keys: Sequence[str]) -> dict[str, Member]:
        """The members by key, with their names and what they belong to, as far as the tenant's catalogue knows."""
        members = {key: Member(dimension, key, key) for key in keys}
        if dimension not in _NAMES or "track_facts" not in self._marts:
            return members
        column, name = _NAMES[dimension]
        rows = self._fetch(
            f"SELECT {column}, min({name}), min(artist_id), min(artist_name), min(genre), count(DISTINCT genre)"
            f" FROM {self._schema}.track_facts WHERE {column} = ANY(%s) GROUP BY 1",
            (list(keys),),
        )
        for key, title, artist_id, artist_name, genre, genres in rows:
            inside = {"artist": artist_id} if dimension == "track" and artist_id else {}
            inside |= {"genre": genre} if genre and genres == 1 else {}
            shown = f"“{title}” by {artist_name}" if dimension == "track" and title and artist_name else title or key
            members[str(key)] = Member(dimension, str(key), str(shown), inside)
        return members

    def _fetch(self, query: str, parameters: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
        return self._connection.execute(statement(query), parameters).fetchall()


def _filled(series: Series, first: date, day: date) -> dict[date, float]:
    days = (day - first).days + 1
    return {one: series.get(one, 0.0) for one in (first + timedelta(days=number) for number in range(days))}
