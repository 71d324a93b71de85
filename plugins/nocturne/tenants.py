"""Tenants: one YAML file each, checked strictly, and everything that derives from the slug.

No other module makes a schema's, role's, DAG's, connection's or folder's name from a slug, and no tenant's name stands in code.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from nocturne import presets
from nocturne.accepting import Acceptance
from nocturne.adjusting import Adjustments
from nocturne.asking import Database, Increment, Paging, Topic
from nocturne.codes import CURRENCIES
from nocturne.datasets import DATASETS, Dataset, Type
from nocturne.elements import Elements
from nocturne.errors import TenantError

SLUG = r"^[a-z][a-z0-9_]{1,19}$"
FIRST_DAY = date(1900, 1, 1)
_FIRST_INSTANT = datetime(1900, 1, 1, tzinfo=UTC)
_SOURCE_TYPES = frozenset({"varchar", "bigint", "double", "boolean", "date", "timestamp", "timestamptz", "json"})
_ESCAPES = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7", "undefined", "mbcs", "oem"})
_STORES = ("s3", "gs", "abfs", "abfss", "https", "http")
_FORMAT_OF: Mapping[str, str] = {"api": "json", "database": "parquet", "topic": "ndjson"}
_MAX_CHARACTERS = 64_000
_MAX_NODES = 20_000
_MAX_DEPTH = 100
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Ratio = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Names = Annotated[str, Field(pattern=r"^[^,\s][^,]*(, [^,\s][^,]*)*$", max_length=1_000)]
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
    """A plain value, and the first of a list of `{from, value}`, hold from the beginning: no day is without a rule."""
    return _reaching_back(value, FIRST_DAY)


def _reaching_back(value: Any, beginning: object) -> Any:
    if not isinstance(value, (list, tuple)):
        return ({"from": beginning, "value": value},)
    if value and isinstance(value[0], dict):
        return ({**value[0], "from": beginning}, *value[1:])
    return tuple(value)


class Rules(_Strict):
    """The CAPITALS of the metric definitions, each effective-dated: a rebuild of an old day uses the rule of that day."""

    stream_min_ms: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=30_000),)
    stream_rule: tuple[Since[Literal["gte", "gt"]], ...] = (Since[Literal["gte", "gt"]](since=FIRST_DAY, value="gte"),)
    resume_gap_seconds: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=30),)
    session_gap_seconds: tuple[Since[Positive], ...] = (Since[Positive](since=FIRST_DAY, value=1_800),)
    complete_rate: tuple[Since[Ratio], ...] = (Since[Ratio](since=FIRST_DAY, value=0.9),)
    final_after_days: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=7),)
    paid_per_unit: tuple[Since[Positive], ...] = (
        Since[Positive](since=FIRST_DAY, value=1_250),
        Since[Positive](since=date(2026, 1, 17), value=1_000),
    )
    ad_per_unit: tuple[Since[Positive], ...] = (
        Since[Positive](since=FIRST_DAY, value=3_750),
        Since[Positive](since=date(2026, 1, 17), value=2_500),
    )
    pool_share: tuple[Since[Ratio], ...] = (Since[Ratio](since=FIRST_DAY, value=0.52),)
    payable_min_streams: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=1_000),)
    noise_min_ms: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=120_000),)
    noise_genres: tuple[Since[Names], ...] = (
        Since[Names](since=FIRST_DAY, value="noise, white noise, nature sounds, machine noise, sound effects, asmr, silence"),
    )
    boost_min_streams: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=1_000),)
    boost_min_listeners: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=500),)
    trial_days: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=14),)
    grace_days: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=3),)
    churn_grace_days: tuple[Since[Whole], ...] = (Since[Whole](since=FIRST_DAY, value=30),)

    _from_plain = field_validator("*", mode="before")(_dated)

    @field_validator("*")
    @classmethod
    def _rise(cls, value: tuple[Since[Any], ...]) -> tuple[Since[Any], ...]:
        days = [entry.since for entry in value]
        if not days or any(later <= earlier for earlier, later in pairwise(days)):
            raise ValueError("there must be a value, and the `from` days must rise")
        return value

    def intervals(self) -> Iterator[tuple[str, date, date | None, str]]:
        """(rule, valid from, valid to (exclusive, None: open), value as text) of every rule."""
        for name in sorted(type(self).model_fields):
            entries = getattr(self, name)
            ends = [entry.since for entry in entries[1:]] + [None]
            for entry, end in zip(entries, ends, strict=True):
                yield name, entry.since, end, str(entry.value)


def _as_text(value: Any) -> Any:
    """The SQL of a plain YAML value, so that `ms_played: 0` and `is_offline: false` need no quotes."""
    if value is None:
        return "NULL"
    return str(value).lower() if isinstance(value, (bool, int, float)) else value


def _checked(text: str) -> str:
    # sqlglot takes longer to import than most tenant files to load: only a file with a mapping pays for it.
    from nocturne.expressions import check_expression

    check_expression(text)
    return text


ExpressionText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_checked)]


class Estimate(_Strict):
    """A declared rule for a column that the source does not deliver; every row it fills is marked `is_estimated`.

    `until_next`: the time from this row's `at` to the next row of the same delivery with the same values of these delivered columns
    (none: the next row of all), in milliseconds, at most `at_most`; a row without a next one takes `at_most`. `at` (an instant) and
    `at_most` (milliseconds) are mapping expressions. All delivered rows count as a next one, also those that `where` leaves out.
    """

    until_next: tuple[str, ...]
    at: ExpressionText
    at_most: ExpressionText


class Layout(_Strict):
    """How a source's files are laid out, where that cannot be found in them or is found wrongly."""

    encoding: str | None = Field(None, description="Of text without a byte order mark.")
    delimiter: str | None = Field(None, pattern=r"^[ -!#-&(-~\t]$", description="csv: what stands between two values.")
    quote: Literal['"', "'", "none"] = Field('"', description="csv: what stands around a value that holds delimiters.")
    lines_before: int = Field(0, ge=0, le=1_000, description="csv, xlsx: lines before the header.")
    sheet: str | None = Field(None, min_length=1, max_length=31, description="xlsx: the sheet's name; None: the first.")

    @field_validator("encoding")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            known = codecs.lookup(value).name
            "Az09\n".encode(known).decode(known)
        except (LookupError, UnicodeError) as error:
            raise ValueError(f"there is no text encoding {value!r} (names of Python's codecs, such as cp1252 or utf-16)") from error
        if known in _ESCAPES:
            raise ValueError(f"{value!r} is no encoding of files")
        return known

    def check(self, kind: str) -> None:
        """Raise ValueError if it says what files of this format have not."""
        known = {
            "encoding": {"ndjson", "json", "csv", "xml", "dsr"},
            "delimiter": {"csv"},
            "quote": {"csv"},
            "lines_before": {"csv", "xlsx"},
            "sheet": {"xlsx"},
        }
        wrong = sorted(name for name in self.model_fields_set if kind not in known[name])
        if wrong:
            raise ValueError(f"layout: {kind} has no {', '.join(wrong)}")


class Alias(_Strict):
    """The names that a column may have in a header, in any case: the first that stands there is read under our name."""

    any_of: tuple[str, ...] = Field(min_length=1)
    required: bool = Field(True, description="Refuse a file that has none of them; else the column is NULL there.")


class Source(_Strict):
    """Where one dataset comes from, and how its columns are mapped.

    `location`: for `files` a pattern of paths (`*`, `?`, `[...]`, `**`) below the sources' root or in a store (`s3://bucket/...`), for
    `api` a path (with its query) below the connection's address; others have none. `{day}` stands for the delivery's day (ISO). A
    source with `{day}` delivers one batch a day; every day up to the business day that was not taken yet is taken. Without it, each
    night's state is one batch, or what is new.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    dataset: str
    kind: Literal["files", "api", "database", "topic"]
    format: Literal["ndjson", "csv", "parquet", "json", "arrow", "xlsx", "xml", "dsr"] = "ndjson"
    location: str = ""
    connection: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=40, description="Name of an Airflow connection of this tenant."
    )
    records: str | None = Field(
        None, description="json: the field of a page that holds the rows (dots lead in); None: the page is the array."
    )
    lone_record: bool = Field(False, description="json: a single record may stand there without the array, as where JSON is made of XML.")
    paging: Paging | None = Field(None, description="api: how the page that follows is found; None: there is one page.")
    since: Increment | None = Field(None, description="api: ask for what is new alone.")
    requests_per_minute: Positive | None = Field(None, description="api: ask no faster than this.")
    database: Database | None = Field(None, description="database: the table or query, and by which column rows are new.")
    xml: Elements | None = Field(None, description="xml: which elements are rows, and where their values stand.")
    topic: Topic | None = Field(None, description="topic: what is drained each night.")
    layout: Layout | None = Field(None, description="How its files are laid out, where that is not to be found in them.")
    required: bool = Field(False, description="Stop the night when nothing was delivered for the business day by the deadline.")
    deadline: time | None = Field(None, description="Local time of the night until which the night waits for this source.")
    columns: Mapping[str, str] = Field(default_factory=dict, description="Delivered columns that are no text: DuckDB types.")
    map: Mapping[str, ExpressionText] = Field(default_factory=dict, description="Our column: expression. Empty: columns of the same name.")
    where: Annotated[str, AfterValidator(_checked)] | None = None
    once: bool = Field(False, description="Of rows of a batch that are equal in all our columns, take one, and leave out the others.")
    estimate: Mapping[str, Estimate] = Field(default_factory=dict)
    aliases: Mapping[str, Alias] = Field(default_factory=dict, description="csv: delivered column: the names that it may have.")
    accept: tuple[Acceptance, ...] = Field((), description="Days whose delivery is right though it is unlike all before.")

    @field_validator("dataset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in DATASETS:
            raise ValueError(f"there is no dataset {value!r}; there are {', '.join(DATASETS)}")
        return value

    @field_validator("columns")
    @classmethod
    def _types(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        wrong = {name: kind for name, kind in value.items() if kind.lower() not in _SOURCE_TYPES}
        if wrong:
            raise ValueError(f"unknown types {wrong}; allowed: {', '.join(sorted(_SOURCE_TYPES))}")
        return {name: kind.upper() for name, kind in value.items()}

    @field_validator("location")
    @classmethod
    def _place(cls, value: str) -> str:
        if "\\" in value or not value.isprintable() or value.strip() != value:
            raise ValueError("a location is a path with `/`, without control characters")
        if ".." in value.split("/"):
            raise ValueError("a location has no `..`")
        rest = value.replace("{day}", "")
        if "{" in rest or "}" in rest:
            raise ValueError("a location has no braces but those of `{day}`")
        return value

    @model_validator(mode="before")
    @classmethod
    def _names_no_preset(cls, value: Any) -> Any:
        if isinstance(value, dict) and "preset" in value:
            raise ValueError(presets.why_not(value))
        return value

    @model_validator(mode="before")
    @classmethod
    def _speaks_its_format(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(kind := value.get("kind"), str) and kind in _FORMAT_OF:
            return {"format": _FORMAT_OF[kind], **value}
        return value

    @model_validator(mode="after")
    def _reads_as_declared(self) -> Self:
        if (self.kind in _FORMAT_OF) != (self.connection is not None) and not (self.kind == "files" and self.store):
            raise ValueError(f"a source of kind {' or '.join(_FORMAT_OF)}, and only such a one, names a connection (files in a store may)")
        if self.kind == "files" and "://" in self.location and (self.store is None or len(self.location.split("/")) < 4):
            raise ValueError(f"a store is one of {', '.join(_STORES)}, as in s3://bucket/folder/{{day}}/*.csv")
        if self.store in {"https", "http"} and ("*" in self.location or "[" in self.location or "@" in self.location.split("/")[2]):
            raise ValueError("an address names one file, without a pattern and without a secret")
        if self.kind in _FORMAT_OF and self.format != _FORMAT_OF[self.kind]:
            raise ValueError(f"{self.kind}: such a source delivers {_FORMAT_OF[self.kind]}")
        if self.kind == "api" and ("://" in self.location.partition("?")[0] or self.location.startswith("//")):
            raise ValueError("the location of an api source is a path: the host stands in the connection")
        if (self.records is not None or self.lone_record) and self.format != "json":
            raise ValueError("only a json source names the field of its records, or has a lone one")
        if (self.format == "xml") != (self.xml is not None):
            raise ValueError("a source of format xml, and only such a one, says in `xml` which elements are rows")
        if self.layout is not None:
            self.layout.check(self.format)
        return self

    @model_validator(mode="after")
    def _is_asked_as_its_kind_can_be(self) -> Self:
        if (self.kind in {"files", "api"}) != bool(self.location):
            raise ValueError("a source of kind files or api, and only such a one, has a location")
        if (self.kind == "database") != (self.database is not None):
            raise ValueError("a source of kind database, and only such a one, says in `database` what is read")
        if (self.kind == "topic") != (self.topic is not None):
            raise ValueError("a source of kind topic, and only such a one, says in `topic` what is drained")
        misplaced = [name for name in ("paging", "since", "requests_per_minute") if getattr(self, name) is not None]
        if misplaced and self.kind != "api":
            raise ValueError(f"only an api source has {', '.join(misplaced)}")
        if self.since is not None and self.is_daily:
            raise ValueError("a source with {day} is asked day by day, and one with `since` for what is new: it is one of the two")
        return self

    @model_validator(mode="after")
    def _names_each_column_once(self) -> Self:
        if self.aliases and self.format not in {"csv", "xlsx"}:
            raise ValueError("only a csv or xlsx source has aliases: other formats name each value")
        known = [word for ours, alias in self.aliases.items() for word in {_word(ours), *map(_word, alias.any_of)}]
        if twice := sorted({word for word in known if known.count(word) > 1}):
            raise ValueError(f"aliases: {', '.join(twice)} stands for more than one column")
        return self

    @model_validator(mode="after")
    def _fits_its_dataset(self) -> Self:
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
        return self

    @property
    def store(self) -> str | None:
        """The kind of store that its files stand in (`s3`, `gs`, ...); None: below the sources' root."""
        scheme, parted, _ = self.location.partition("://")
        return scheme if parted and self.kind == "files" and scheme in _STORES else None

    @property
    def is_daily(self) -> bool:
        """Whether each delivery belongs to a day that stands in its location."""
        return "{day}" in self.location

    def as_named(self, header: Iterable[str]) -> tuple[str, ...]:
        """The columns of a header, those that have an alias under its name."""
        columns = list(header)
        words = [_word(column) for column in columns]
        for ours, alias in self.aliases.items():
            there = [word for word in (_word(ours), *map(_word, alias.any_of)) if word in words]
            if there:
                columns[words.index(there[0])] = ours
        return tuple(columns)

    @property
    def may_lack(self) -> frozenset[str]:
        """The columns that a file need not have."""
        return frozenset(ours for ours, alias in self.aliases.items() if not alias.required)

    def accepts(self, received_on: date) -> str | None:
        """Why what was received on a day is right though it is unlike all before; None if nobody says so."""
        return next((one.reason for one in self.accept if one.day == received_on), None)

    @property
    def is_incremental(self) -> bool:
        """Whether each night takes what is new since the last one."""
        return self.since is not None or self.topic is not None or (self.database is not None and self.database.watermark is not None)

    @property
    def place(self) -> str:
        """What of its connection or of the sources' root is taken, for messages."""
        if self.topic:
            return self.topic.name
        return (self.database.table or "its query") if self.database else self.location

    @property
    def fingerprint(self) -> str:
        """What of this declaration decides what its rows become (mapping, types, condition, estimates, aliases, layout)."""
        deciding = {"dataset", "format", "records", "columns", "map", "where", "estimate"}
        # Without aliases and layout the digest is what it was before there were any: nothing that stands in bronze is loaded again.
        told = self.model_dump_json(include=deciding | {name for name in ("aliases", "lone_record", "once") if getattr(self, name)})
        parts = [part.model_dump_json() for part in (self.layout, self.xml) if part is not None]
        return _digest("".join([told, *parts]))


def _word(column: str) -> str:
    """A column's name as a person reads it: without case, and without the spaces around it."""
    return column.strip().casefold()


@cache
def _time_zones() -> frozenset[str]:
    """All IANA names; asking for them walks a folder, which a thousand tenants' files must not repeat."""
    return frozenset(available_timezones())


class Zone(_Strict):
    """A time zone that holds from a UTC instant on."""

    since: datetime = Field(alias="from")
    value: str

    @field_validator("value")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value not in _time_zones():
            raise ValueError(f"there is no time zone {value!r} (IANA names, such as Europe/Paris)")
        return value

    @field_validator("since")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Bill(_Strict):
    """What a calendar month of the installation costs from a month on, in the tenant's currency."""

    since: date = Field(alias="from", description="First day of the first month.")
    month: Decimal = Field(ge=0, max_digits=18, decimal_places=2, description="The month itself.")
    included_rows: int = Field(0, ge=0, description="Rows received that it pays for.")
    million_rows: Decimal = Field(Decimal(0), ge=0, max_digits=18, decimal_places=2, description="Each million rows beyond.")

    @field_validator("since")
    @classmethod
    def _first_of_month(cls, value: date) -> date:
        if value.day != 1:
            raise ValueError("a bill is of calendar months: `from` is the first day of one")
        return value


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
    encrypts_landing: bool = Field(False, description="Raw files stand encrypted with the tenant's own key.")
    sees_whole_market: bool = Field(False, description="It sees everybody's streams, so that a market share can be said.")
    rules: Rules = Field(default_factory=Rules)
    bill: tuple[Bill, ...] = Field((), description="What its months cost; without one they have no price.")
    sources: tuple[Source, ...] = Field(min_length=1)
    checks: Mapping[str, Adjustments] = Field(
        default_factory=dict, description="By dataset, or `marts.<mart>`: checks of its own, other thresholds, muted checks."
    )

    @field_validator("time_zone", mode="before")
    @classmethod
    def _plain_zone(cls, value: Any) -> Any:
        return _reaching_back(value, _FIRST_INSTANT)

    @field_validator("currency")
    @classmethod
    def _is_in_use(cls, value: str) -> str:
        if value not in CURRENCIES:
            raise ValueError(f"{value} is no ISO 4217 currency in use")
        return value

    @field_validator("slug")
    @classmethod
    def _free_of_postgres(cls, value: str) -> str:
        if value == "pg" or value.startswith("pg_"):
            raise ValueError("PostgreSQL keeps names that begin with pg_ for itself")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zones_rise(cls, value: tuple[Zone, ...]) -> tuple[Zone, ...]:
        instants = [zone.since for zone in value]
        if not instants or any(later <= earlier for earlier, later in pairwise(instants)):
            raise ValueError("there must be a time zone, and the `from` instants must rise")
        return value

    @field_validator("bill")
    @classmethod
    def _bills_rise(cls, value: tuple[Bill, ...]) -> tuple[Bill, ...]:
        if any(later.since <= earlier.since for earlier, later in pairwise(value)):
            raise ValueError("the `from` days of bills must rise")
        return value

    @field_validator("sources", mode="before")
    @classmethod
    def _presets_in_full(cls, value: Any) -> Any:
        return presets.expanded(value)[0] if isinstance(value, (list, tuple)) else value

    @field_validator("sources")
    @classmethod
    def _named_once(cls, value: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [source.name for source in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources are named twice: {', '.join(twice)}")
        return value

    # what the tenant has ---------------------------------------------------------------------------------------------
    @property
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
        in_force = [zone for zone in self.time_zone if zone.since <= instant] or self.time_zone[:1]
        return ZoneInfo(in_force[-1].value)

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
    def maintenance_dag(self) -> str:
        """Id of its maintenance DAG."""
        return f"{self.slug}__maintenance"

    @property
    def rollback_dag(self) -> str:
        """Id of the DAG that takes published marts back."""
        return f"{self.slug}__rollback"

    @property
    def deliveries_dag(self) -> str:
        """Id of the DAG that takes deliveries back."""
        return f"{self.slug}__deliveries"

    @property
    def dags(self) -> tuple[str, ...]:
        """Ids of all its DAGs."""
        return self.nightly_dag, self.training_dag, self.maintenance_dag, self.rollback_dag, self.deliveries_dag

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
        # A connection's name has no double underscore, so the last one parts it from the slug: no two tenants share an id.
        return f"nocturne_{self.slug}__{name}"

    def group_id(self, source: Source) -> str:
        """The consumer group under which a broker keeps how far a source of topics was drained."""
        return source.topic.group if source.topic and source.topic.group else self.connection_id(source.name)

    def model_name(self, problem: str) -> str:
        """Name of a problem's model in the registry; also of its experiment."""
        return f"{self.slug}.{problem}"

    def lake_folder(self, root: Path) -> Path:
        """Its folder in the lake."""
        return root / self.slug

    @property
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
    for path in sorted(folder.glob("[!.]*.yml")):
        try:
            tenants[path.stem] = load_tenant(path)
        except TenantError as error:
            broken.append(error)
    return Roll(tenants, tuple(broken))


def load_tenant(path: Path) -> Tenant:
    """The tenant that `path` declares. Raises TenantError with file, line and what is wrong, each on a line of its own."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TenantError(f"{path}: {error.strerror}.", next_step="Put the file there.", tenant=path.stem) from error
    except UnicodeDecodeError as error:
        raise TenantError(f"{path}:1: {error}.", next_step="Save the file as UTF-8.", tenant=path.stem) from error
    return read_tenant(text, path)


def read_tenant(text: str, path: Path) -> Tenant:
    """The tenant that `text`, the content of the file `path`, declares. Raises TenantError as `load_tenant` does."""
    slug = path.stem
    document, lines = _read(text, path)
    document.setdefault("slug", slug)
    try:
        tenant = Tenant.model_validate(document)
    except ValidationError as error:
        written = dict.fromkeys((_as_written(where, document), message) for where, message in _problems(error))
        problems = [f"{path}:{_line_of(where, lines)}: {'.'.join(map(str, where)) or 'tenant'}: {message}" for where, message in written]
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


def line_of(path: Path, where: tuple[Any, ...]) -> int:
    """The line of a tenant's file on which a part of it stands; 1 if it cannot be read (any more)."""
    try:
        return _line_of(where, _parse(path.read_text(encoding="utf-8"))[1])
    except (OSError, ValueError, yaml.YAMLError):
        return 1


def _problems(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """(where, what) of each problem, without pydantic's echoes: a tuple whose items are wrong is also reported as too short."""
    found = error.errors(include_url=False, include_input=False)
    places = [problem["loc"] for problem in found]
    return [
        (problem["loc"], problem["msg"].removeprefix("Value error, "))
        for problem in found
        if not (
            problem["type"] == "too_short"
            and any(len(place) > len(problem["loc"]) and place[: len(problem["loc"])] == problem["loc"] for place in places)
        )
    ]


def _as_written(where: tuple[int | str, ...], document: Mapping[str, Any]) -> tuple[int | str, ...]:
    """Where a problem of a source stands in the file: a preset's sources stand at the place of the entry that names it."""
    sources = document.get("sources")
    if len(where) < 2 or where[0] != "sources" or not isinstance(sources, list):
        return where
    return where[0], presets.expanded(sources)[1][int(where[1])], *where[2:]


class _Loader(yaml.CSafeLoader):
    """YAML as people mean it (the core schema of YAML 1.2): 1.1 reads `no` as False, 22:30 as the number 1350, 010 as 8, and raises
    a bare ValueError at 2026-02-30. Here dates and times are text, which the model reads.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 (the class's own, as PyYAML wants it)


_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "merge", "str", "seq", "map"))
for _kind, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9_]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), _first)


class _UnreadableError(ValueError):
    """A document that says what we do not take, and where."""

    def __init__(self, what: str, node: yaml.Node | None) -> None:
        self.line = node.start_mark.line + 1 if node else 1
        super().__init__(what)


def _read(text: str, path: Path) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    """The document of a tenant's file, and the line of each of its parts."""
    try:
        return _parse(text)
    except _UnreadableError as error:
        line, what = error.line, str(error)
    except yaml.MarkedYAMLError as error:
        line, what = error.problem_mark.line + 1 if error.problem_mark else 1, error.problem or str(error)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line, what = 1, str(error)
    # What the end of the text lacks is missing behind its last line.
    where = f"{path}:{min(line, len(text.splitlines()) or 1)}"
    raise TenantError(
        f"{where}: {' '.join(what.split())}.", next_step="Correct the file; `nocturne tenants check` checks it.", tenant=path.stem
    )


def _parse(text: str) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"the file has {len(text)} characters; at most {_MAX_CHARACTERS} are read")
    _check_depth(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[tuple[Any, ...], int] = {}
        if node is not None:
            _note_lines(node, (), lines)
        if not isinstance(node, yaml.MappingNode):
            raise _UnreadableError("the file holds no mapping; `nocturne tenants new` writes one that does", node)
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def _check_depth(text: str) -> None:
    """Refuse what is nested so deep that composing it, which recurses in C, would end the process."""
    if sum(text.count(mark) for mark in "[{-?") <= _MAX_DEPTH:  # each of them opens at most one level
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} levels stand within each other")


def _note_lines(node: yaml.Node, at: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> None:
    """Note the line of every value. YAML would keep the last of two equal keys and drop the first without a word: here they are refused."""
    if node.tag not in _TAGS:
        raise _UnreadableError(f"the tag {node.tag} is not read", node)
    if len(lines) > _MAX_NODES:  # aliases of aliases grow without end
        raise _UnreadableError(f"there are more than {_MAX_NODES} values", node)
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*at, index), lines)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _UnreadableError("a key must be a word", key)
            if key.value in seen:
                raise _UnreadableError(f"{key.value} stands twice", key)
            seen.add(key.value)
            lines[(*at, key.value)] = key.start_mark.line + 1
            _note_lines(value, (*at, key.value), lines)


def _line_of(where: tuple[Any, ...], lines: Mapping[tuple[Any, ...], int]) -> int:
    """The line of the longest part of `where` that stands in the file."""
    return next((lines[where[:end]] for end in range(len(where), -1, -1) if where[:end] in lines), 1)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
