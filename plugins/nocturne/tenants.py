"""Tenants: one YAML file each, checked strictly, and everything that derives from the slug.

No other module makes a schema's, role's, DAG's, connection's or folder's name from a slug, and no tenant's name stands in code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nocturne.datasets import DATASETS, Dataset, Type
from nocturne.errors import TenantError

SLUG = r"^[a-z][a-z0-9_]{1,19}$"
FIRST_DAY = date(1900, 1, 1)
ValueT = TypeVar("ValueT")


class Tier(StrEnum):
    """What a tenant has bought."""

    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True)
class Limits:
    """What a tier gives: rows a night, days that landing keeps bytes, report formats, problems, priority in the pool, Optuna trials."""

    rows_a_night: int
    landing_days: int
    reports: frozenset[str]
    problems: frozenset[str]
    priority: int
    trials: int


LIMITS: Mapping[Tier, Limits] = {
    Tier.FREE: Limits(2_000_000, 90, frozenset({"pdf", "png"}), frozenset({"forecast"}), 1, 6),
    Tier.PRO: Limits(50_000_000, 400, frozenset({"pdf", "png", "svg", "xlsx"}), frozenset({"churn", "forecast", "genre"}), 5, 10),
    Tier.ENTERPRISE: Limits(
        2_000_000_000, 1_100, frozenset({"pdf", "png", "svg", "xlsx", "html"}), frozenset({"churn", "forecast", "genre"}), 10, 20
    ),
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Since(_Strict, Generic[ValueT]):
    """A value that holds from a day on."""

    since: date = Field(alias="from")
    value: ValueT


def _dated(value: Any) -> Any:
    """A plain value holds from the beginning; a list of `{from, value}` must rise."""
    if not isinstance(value, (list, tuple)):
        return ({"from": FIRST_DAY, "value": value},)
    return tuple(value)


class Rules(_Strict):
    """The CAPITALS of the metric definitions, each effective-dated: a rebuild of an old day uses the rule of that day."""

    stream_min_ms: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=30_000),)
    stream_rule: tuple[Since[Literal["gte", "gt"]], ...] = (Since[Literal["gte", "gt"]](since=FIRST_DAY, value="gte"),)
    resume_gap_seconds: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=30),)
    session_gap_seconds: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=1_800),)
    complete_rate: tuple[Since[float], ...] = (Since[float](since=FIRST_DAY, value=0.9),)
    final_after_days: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=7),)
    paid_per_unit: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=1_250), Since[int](since=date(2026, 1, 17), value=1_000))
    ad_per_unit: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=3_750), Since[int](since=date(2026, 1, 17), value=2_500))
    pool_share: tuple[Since[float], ...] = (Since[float](since=FIRST_DAY, value=0.52),)
    trial_days: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=14),)
    grace_days: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=3),)
    churn_grace_days: tuple[Since[int], ...] = (Since[int](since=FIRST_DAY, value=30),)

    _from_plain = field_validator("*", mode="before")(_dated)

    @model_validator(mode="after")
    def _rise(self) -> Self:
        for name in type(self).model_fields:
            days = [entry.since for entry in getattr(self, name)]
            if not days or any(later <= earlier for earlier, later in zip(days, days[1:], strict=False)):
                raise ValueError(f"{name}: the `from` days must rise")
        return self

    def intervals(self) -> Iterator[tuple[str, date, date | None, str]]:
        """(rule, valid from, valid to (exclusive, None: open), value as text) of every rule."""
        for name in sorted(type(self).model_fields):
            entries = getattr(self, name)
            ends = [entry.since for entry in entries[1:]] + [None]
            for entry, end in zip(entries, ends, strict=True):
                yield name, entry.since, end, str(entry.value)


class Estimate(_Strict):
    """A declared rule for a column that the source does not deliver; every row it fills is marked `is_estimated`.

    `until_next`: the time from this row's `at` to the next row of the same delivery with the same values of these delivered columns,
    in milliseconds, at most `at_most`; a row without a next one takes `at_most`. `at` (an instant) and `at_most` (milliseconds) are
    mapping expressions. All delivered rows count as a next one, also those that `where` leaves out.
    """

    until_next: tuple[str, ...] = Field(min_length=1)
    at: str
    at_most: str

    @field_validator("at", "at_most")
    @classmethod
    def _expression(cls, value: str) -> str:
        return _checked(value)


class Source(_Strict):
    """Where one dataset comes from, and how its columns are mapped.

    `location`: for `files` a path pattern below the sources' root (or absolute), for `api` a path below the connection's address.
    `{day}` stands for the delivery's day (ISO). A source with `{day}` delivers one batch a day; every day up to the business day that
    was not taken yet is taken. Without it, each night's state is one batch.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    dataset: str
    kind: Literal["files", "api"]
    format: Literal["ndjson", "csv", "parquet", "json"] = "ndjson"
    location: str
    connection: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Name of an Airflow connection of this tenant.")
    records: str | None = Field(None, description="api: the field of a page that holds the rows; None: the page is the array.")
    next_field: str | None = Field(None, description="api: the field of a page that holds the next page's URL or path.")
    required: bool = Field(False, description="Stop the night when nothing was delivered for the business day by the deadline.")
    deadline: time | None = Field(None, description="Local time of the night until which the night waits for this source.")
    columns: Mapping[str, str] = Field(default_factory=dict, description="Delivered columns that are no text: DuckDB types.")
    map: Mapping[str, str] = Field(default_factory=dict, description="Our column: expression. Empty: columns of the same name.")
    where: str | None = None
    estimate: Mapping[str, Estimate] = Field(default_factory=dict)

    @field_validator("dataset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in DATASETS:
            raise ValueError(f"there is no dataset {value!r}; there are {', '.join(DATASETS)}")
        return value

    @field_validator("columns")
    @classmethod
    def _types(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        allowed = {"varchar", "bigint", "double", "boolean", "date", "timestamp", "timestamptz", "json"}
        wrong = {name: kind for name, kind in value.items() if kind.lower() not in allowed}
        if wrong:
            raise ValueError(f"unknown types {wrong}; allowed: {', '.join(sorted(allowed))}")
        return {name: kind.upper() for name, kind in value.items()}

    @field_validator("map")
    @classmethod
    def _expressions(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for text in value.values():
            _checked(str(text))
        return {name: str(text) for name, text in value.items()}

    @field_validator("where")
    @classmethod
    def _condition(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        dataset = DATASETS[self.dataset]
        unknown = sorted((set(self.map) | set(self.estimate)) - set(dataset.by_name))
        if unknown:
            raise ValueError(f"dataset {self.dataset} has no columns {unknown}; it has {', '.join(dataset.by_name)}")
        if self.map:
            absent = [c.name for c in dataset.columns if c.required and c.name not in self.map and c.name not in self.estimate]
            if absent:
                raise ValueError(f"the mapping lacks {absent}, which dataset {self.dataset} requires")
        if self.estimate and "is_estimated" not in dataset.by_name:
            raise ValueError(f"dataset {self.dataset} has no column is_estimated: nothing in it may be estimated")
        for name in self.estimate:
            if dataset.by_name[name].type is not Type.INTEGER or not name.startswith("ms_"):
                raise ValueError(f"estimate: {name} is no duration in milliseconds")
        if (self.kind == "api") != (self.connection is not None):
            raise ValueError("an api source, and only that, names a connection")
        if ".." in Path(self.location).parts:
            raise ValueError("a location has no `..`")
        return self

    @property
    def is_daily(self) -> bool:
        """Whether each delivery belongs to a day that stands in its location."""
        return "{day}" in self.location

    @cached_property
    def fingerprint(self) -> str:
        """What of this declaration decides what its rows become (mapping, types, condition, estimates)."""
        return _digest(self.model_dump_json(include={"dataset", "format", "records", "columns", "map", "where", "estimate"}))


class Zone(_Strict):
    """A time zone that holds from a UTC instant on."""

    since: datetime = Field(alias="from")
    value: str

    @field_validator("value")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"there is no time zone {value!r} (IANA names, such as Europe/Paris)")
        return value

    @field_validator("since")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Tenant(_Strict):
    """One tenant, as its file declares it."""

    slug: str = Field(pattern=SLUG)
    name: str = Field(min_length=1, max_length=80)
    tier: Tier = Tier.PRO
    owner: str = Field("operations", description="Who is called when a night fails.")
    time_zone: tuple[Zone, ...]
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    week_start: Literal["monday", "sunday"] = "monday"
    fiscal_year_start: int = Field(1, ge=1, le=12)
    begins_on: date = Field(description="First day of deliveries.")
    night_at: time = Field(time(3, 0), description="Local time at which the night starts.")
    sees_whole_market: bool = Field(False, description="It sees everybody's streams, so that a market share can be said.")
    rules: Rules = Field(default_factory=Rules)
    sources: tuple[Source, ...] = Field(min_length=1)

    @field_validator("time_zone", mode="before")
    @classmethod
    def _plain_zone(cls, value: Any) -> Any:
        return [{"from": datetime(1900, 1, 1, tzinfo=UTC), "value": value}] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _unique_sources(self) -> Self:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources are named twice: {twice}")
        instants = [zone.since for zone in self.time_zone]
        if any(later <= earlier for earlier, later in zip(instants, instants[1:], strict=False)):
            raise ValueError("time_zone: the `from` instants must rise")
        return self

    # what the tenant has ---------------------------------------------------------------------------------------------
    @cached_property
    def datasets(self) -> tuple[Dataset, ...]:
        """The datasets that its sources deliver, in the catalogue's order."""
        named = {source.dataset for source in self.sources}
        return tuple(dataset for name, dataset in DATASETS.items() if name in named)

    def has(self, *datasets: str) -> bool:
        """Whether its sources deliver all of `datasets`."""
        named = {dataset.name for dataset in self.datasets}
        return all(name in named for name in datasets)

    def sources_of(self, dataset: str) -> tuple[Source, ...]:
        """The sources that deliver `dataset`, by name."""
        return tuple(sorted((s for s in self.sources if s.dataset == dataset), key=lambda s: s.name))

    @property
    def limits(self) -> Limits:
        """What its tier gives."""
        return LIMITS[self.tier]

    # time ------------------------------------------------------------------------------------------------------------
    def zone_at(self, instant: datetime) -> ZoneInfo:
        """The time zone in force at a UTC instant."""
        return ZoneInfo([zone for zone in self.time_zone if zone.since <= instant][-1].value)

    def business_day(self, instant: datetime) -> date:
        """The business day of a run that starts (or is due) at `instant`: the last local calendar day that was over by then."""
        return instant.astimezone(self.zone_at(instant)).date() - timedelta(days=1)

    # names -----------------------------------------------------------------------------------------------------------
    @property
    def raw_schema(self) -> str:
        """The warehouse's schema."""
        return f"{self.slug}_raw"

    @property
    def build_schema(self) -> str:
        """Where dbt builds marts, beside the published ones."""
        return f"{self.slug}_build"

    @property
    def marts_schema(self) -> str:
        """The published marts."""
        return f"{self.slug}_marts"

    @property
    def ml_schema(self) -> str:
        """Predictions and insights."""
        return f"{self.slug}_ml"

    @property
    def schemas(self) -> tuple[str, ...]:
        """All its schemas."""
        return self.raw_schema, self.build_schema, self.marts_schema, self.ml_schema

    @property
    def owner_role(self) -> str:
        """The PostgreSQL role that owns its schemas and reads nothing else."""
        return f"{self.slug}_owner"

    @property
    def reader_role(self) -> str:
        """The read-only role of its analysts: published marts and predictions."""
        return f"{self.slug}_reader"

    @property
    def nightly_dag(self) -> str:
        """Id of its nightly DAG."""
        return f"{self.slug}__nightly"

    @property
    def training_dag(self) -> str:
        """Id of its training DAG."""
        return f"{self.slug}__training"

    @property
    def models_asset(self) -> str:
        """Name of the asset whose event starts training."""
        return f"{self.slug}__models_due"

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of its DAGs."""
        return f"tenant:{self.slug}", f"tier:{self.tier.value}"

    def connection_id(self, name: str) -> str:
        """Id of the Airflow connection that its sources call `name`."""
        return f"nocturne_{self.slug}_{name}"

    def model_name(self, problem: str) -> str:
        """Name of a problem's model in the registry; also of its experiment."""
        return f"{self.slug}.{problem}"

    def lake_folder(self, root: Path) -> Path:
        """Its folder in the lake."""
        return root / self.slug

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the whole declaration."""
        return _digest(self.model_dump_json())


@dataclass(frozen=True)
class Roll:
    """All tenants of an installation: those whose file is right, by slug, and the errors of those whose file is not."""

    tenants: Mapping[str, Tenant]
    broken: tuple[TenantError, ...]

    def get(self, slug: str) -> Tenant:
        """The tenant `slug`. Raises TenantError with the reason if its file is broken, or if there is none."""
        if slug in self.tenants:
            return self.tenants[slug]
        for error in self.broken:
            if error.tenant == slug:
                raise error
        raise TenantError(
            f"There is no tenant {slug!r}; there are {', '.join(self.tenants) or 'none'}.",
            next_step=f"Correct the name, or run `nocturne tenants new {slug}`.",
        )


def load_tenants(folder: Path) -> Roll:
    """Every tenant below `folder`, sorted by slug. A broken file breaks its own tenant only."""
    tenants: dict[str, Tenant] = {}
    broken: list[TenantError] = []
    for path in sorted(folder.glob("*.yml")):
        try:
            tenants[path.stem] = load_tenant(path)
        except TenantError as error:
            broken.append(error)
    return Roll(tenants, tuple(broken))


def load_tenant(path: Path) -> Tenant:
    """The tenant that `path` declares. Raises TenantError with file, line and what is wrong, each on a line of its own."""
    slug = path.stem
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        lines = dict(_lines(node)) if node else {}
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except OSError as error:
        raise TenantError(f"{path}: {error.strerror}.", next_step="Put the file there.", tenant=slug) from error
    except (yaml.YAMLError, UnicodeDecodeError, _Twice) as error:
        mark = getattr(error, "problem_mark", None)
        line = error.line if isinstance(error, _Twice) else mark.line + 1 if mark else 1
        what = getattr(error, "problem", None) or str(error)
        raise TenantError(f"{path}:{line}: {what}.", next_step="Correct the file; `nocturne tenants check` checks it.", tenant=slug) from error
    if not isinstance(document, dict):
        raise TenantError(f"{path}:1: the file holds no mapping.", next_step="`nocturne tenants new` shows the form.", tenant=slug)
    document.setdefault("slug", slug)
    try:
        tenant = Tenant.model_validate(document)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False, include_input=False):
            where = tuple(part for part in problem["loc"])
            problems.append(f"{path}:{_line_of(where, lines)}: {'.'.join(map(str, where)) or 'tenant'}: {problem['msg']}")
        raise TenantError(
            "\n".join(problems) + ".", next_step="Correct these lines; `nocturne tenants check` checks them.", tenant=slug
        ) from error
    if tenant.slug != slug:
        raise TenantError(
            f"{path}:{lines.get(('slug',), 1)}: the slug {tenant.slug!r} is not the file's name.",
            next_step=f"Name the file {tenant.slug}.yml, or leave `slug` out.",
            tenant=slug,
        )
    return tenant


class _Twice(Exception):
    """A key that stands twice: YAML would keep the last and drop the first without a word."""

    def __init__(self, key: str, line: int) -> None:
        self.line = line
        super().__init__(f"{key} stands twice")


def _lines(node: yaml.Node, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[Any] = set()
        for key, value in node.value:
            if key.value in seen:
                raise _Twice(key.value, key.start_mark.line + 1)
            seen.add(key.value)
            yield (*at, key.value), key.start_mark.line + 1
            yield from ((where, line) for where, line in _lines(value, (*at, key.value)) if where != (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*at, index))


def _line_of(where: tuple[Any, ...], lines: Mapping[tuple[Any, ...], int]) -> int:
    """The line of the longest part of `where` that stands in the file."""
    return next((lines[where[:end]] for end in range(len(where), -1, -1) if where[:end] in lines), 1)


def _checked(text: str) -> str:
    # sqlglot takes longer to import than most tenant files to load: only a file with a mapping pays for it.
    from nocturne.expressions import check_expression

    check_expression(text)
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
