"""Small worlds for the marts: silver rows as plain dictionaries, put into a real warehouse, built by dbt and published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from nocturne.datasets import DATASETS, Type
from nocturne.ledger import Mark, MemoryMarks
from nocturne.marts import build_marts, publish_marts
from nocturne.postgres import Connection, connect, fetch, load_arrow, statement
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from nocturne.warehouse.facts import load_facts
from nocturne.warehouse.loading import Difference, replace
from nocturne.warehouse.tables import prepare_tables

Row = dict[str, Any]
_ARROW = {
    Type.TEXT: pa.string(),
    Type.INTEGER: pa.int64(),
    Type.NUMBER: pa.float64(),
    Type.MONEY: pa.decimal128(18, 6),
    Type.BOOLEAN: pa.bool_(),
    Type.INSTANT: pa.timestamp("us", tz="UTC"),
    Type.DATE: pa.date32(),
}
EVERYTHING = (
    "plays", "interactions", "subscription_events", "payments", "ad_impressions", "statements", "tracks", "artists", "listeners", "plans",
    "rights", "fx_rates", "artificial_streams", "releases", "sales", "playlists", "playlist_tracks", "touchpoints", "exposures",
)  # fmt: skip
"""All datasets that a mart reads."""
SMALL: Mapping[str, Any] = {"payable_min_streams": 6, "boost_min_streams": 8, "boost_min_listeners": 3, "noise_genres": "noise, jazz"}
"""Rules that turn in worlds of few rows."""


def make_tenant(slug: str, datasets: Iterable[str] = EVERYTHING, **more: Any) -> Tenant:
    """A tenant that delivers these datasets."""
    declared: dict[str, Any] = {
        "slug": slug,
        "name": slug.title(),
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": date(2026, 1, 1),
        "sources": [{"name": name, "dataset": name, "kind": "files", "location": f"{name}/{{day}}.ndjson"} for name in datasets],
    }
    return Tenant.model_validate(declared | more | {"rules": {**SMALL, **more.get("rules", {})}})


def arrow(dataset: str, rows: Sequence[Row]) -> pa.RecordBatchReader:
    """Rows as silver hands them to the warehouse."""
    schema = pa.schema([(name, _ARROW[kind]) for name, kind, _ in DATASETS[dataset].silver_columns])
    whole = [{field.name: _exact(row.get(field.name), field.type) for field in schema} for row in rows]
    return pa.Table.from_pylist(whole, schema=schema).to_reader()


def _exact(value: Any, kind: pa.DataType) -> Any:
    return Decimal(str(value)).quantize(Decimal("0.000001")) if value is not None and pa.types.is_decimal(kind) else value


@dataclass
class World:
    """What a tenant's silver holds: `rows` by dataset; `marks` say what was received. `load` brings the warehouse to it, `night` the published marts too."""

    tenant: Tenant
    settings: Settings
    rows: dict[str, list[Row]] = field(default_factory=dict)
    marks: MemoryMarks = field(default_factory=MemoryMarks)
    _loaded: dict[str, dict[str, list[Row]]] = field(default_factory=dict)

    def complete(self, dataset: str, row: Mapping[str, Any]) -> Row:
        """The row with its event date and a day of receipt."""
        declared = DATASETS[dataset]
        whole = dict(row)
        if declared.event_date and declared.event_date not in whole:
            instant: datetime = whole[declared.instant or ""]
            whole[declared.event_date] = instant.astimezone(self.tenant.zone_at(instant)).date()
        whole.setdefault("received_on", whole.get(declared.event_date or "", self.tenant.begins_on))
        return whole

    def add(self, dataset: str, *rows: Mapping[str, Any]) -> None:
        """Add rows to silver."""
        self.rows.setdefault(dataset, []).extend(self.complete(dataset, row) for row in rows)

    def load(self, day: date, tenant: Tenant | None = None) -> None:
        """Load what differs from what was loaded, as `load_warehouse` would from the lake."""
        self.tenant = tenant or self.tenant
        prepare_tables(self.tenant, self.settings)
        for dataset in self.tenant.datasets:
            on = dataset.event_date
            now: dict[str, list[Row]] = {} if on else {"all": []}
            for row in self.rows.get(dataset.name, []):
                now.setdefault(row[on].isoformat() if on else "all", []).append(row)
            before = self._loaded.get(dataset.name, {})
            changed = {part: rows for part, rows in now.items() if before.get(part) != rows}
            gone = before.keys() - now.keys()
            if changed or gone:
                marks = {part: Mark(f"{len(rows)}", {"rows": len(rows), "duplicates": 0}) for part, rows in changed.items()}
                reader = arrow(dataset.name, [row for rows in changed.values() for row in rows])
                with load_arrow(self.settings, role=self.tenant.owner_role) as loader:
                    replace(loader, self.tenant, Difference(dataset, marks, gone), reader)
            self._loaded[dataset.name] = {part: [dict(row) for row in rows] for part, rows in now.items()}
        load_facts(self.tenant, day, self.settings, self.marks)

    def build(self, day: date) -> Receipt:
        """Build the marts."""
        return build_marts(self.tenant, day, self.settings, MemoryMarks())

    def publish(self, day: date) -> Receipt:
        """Publish them."""
        return publish_marts(self.tenant, day, self.settings, MemoryMarks())

    def night(self, day: date, tenant: Tenant | None = None) -> Receipt:
        """Load, build and publish."""
        self.load(day, tenant)
        self.build(day)
        return self.publish(day)

    def mart(self, name: str, columns: str = "*", *, schema: str | None = None) -> list[Row]:
        """All rows of a published mart."""
        return fetch(self.settings, f"SELECT {columns} FROM {schema or self.tenant.marts_schema}.{name}", role=self.tenant.owner_role)

    def contents(self, schema: str | None = None) -> dict[str, list[str]]:
        """Every published mart (or the same marts in another schema), its rows as sorted text: two equal answers are equal marts."""
        with connect(self.settings, role=self.tenant.owner_role) as connection:
            marts = connection.execute(
                statement(f"SELECT DISTINCT mart FROM {self.tenant.marts_schema}._publishes ORDER BY mart")
            ).fetchall()
            there = [mart for (mart,) in marts if self._stands(connection, schema or self.tenant.marts_schema, mart)]
            return {mart: self._rows(connection, schema or self.tenant.marts_schema, mart) for mart in there}

    @staticmethod
    def _stands(connection: Connection, schema: str, mart: str) -> bool:
        return connection.execute("SELECT to_regclass(%s)", (f"{schema}.{mart}",)).fetchone() != (None,)

    @staticmethod
    def _rows(connection: Connection, schema: str, mart: str) -> list[str]:
        query = f"SELECT to_jsonb(m)::text FROM {schema}.{mart} AS m ORDER BY 1"
        return [row for (row,) in connection.execute(statement(query)).fetchall()]


def local(text: str, zone: str = "Europe/Paris", *, fold: int = 0) -> datetime:
    """A local wall-clock time as UTC instant."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def days(first: date, last: date) -> list[date]:
    """Every day from first to last."""
    return [first + timedelta(n) for n in range((last - first).days + 1)]
