"""What a problem is: a question that a tenant's marts can answer, and the functions that learn the answer and judge it.

A new problem is a folder beside this file and a row in the catalogue below. What a problem must bring are plain functions in one frozen
record; training, judging, promotion, prediction, drift and model cards are the same for all of them and know none by name. The frame holds
for rows of any shape: listeners split by time, series split by origin, tracks split by artist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.trees import Grown
from nocturne.postgres import SQL, Connection, Identifier, connect, statement
from nocturne.settings import Settings
from nocturne.tenants import Tenant

Array = npt.NDArray[Any]
Frame = dict[str, Array]
Parameters = Mapping[str, float]

_CATALOGUE: Final[Mapping[str, str]] = {
    "churn": "ml.churn",
    "forecast": "ml.forecast",
    "genre": "ml.genre",
}
"""Problem: the module whose `PROBLEM` it is."""

_NUMBERS: Final = frozenset({16, 20, 21, 23, 700, 701, 1700})  # OIDs of PostgreSQL's boolean and numeric types
_BOOLEAN: Final = 16
_DATE: Final = 1082


class TooLittle(Exception):
    """There is not enough to learn from or to answer with: no error, a reason that the receipt names."""


@dataclass(frozen=True)
class Metric:
    """What a model is judged by."""

    name: str
    higher_is_better: bool
    description: str

    def is_better(self, one: float, other: float) -> bool:
        """Whether `one` is strictly better than `other`."""
        return one > other if self.higher_is_better else one < other

    def worsening(self, one: float, other: float) -> float:
        """By which share of `other` the value `one` is worse; negative if it is better."""
        worse = other - one if self.higher_is_better else one - other
        return worse / max(abs(other), 1e-12)


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search space; `default` is the first trial, so that a search never ends below the plain model."""

    name: str
    low: float
    high: float
    default: float
    is_whole: bool = False
    is_log: bool = False


@dataclass(frozen=True)
class Table:
    """Where predictions go: `<slug>_ml.<name>`. `day` is the column of the business day, whose rows are replaced at once.

    `only_changes`: a row that says the same of its key as the newest earlier one is not repeated (a track's genre stands until it changes).
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    day: str
    only_changes: bool = False


@dataclass(frozen=True)
class Examples:
    """What a model learns from: `x` [rows, features] in single precision with NaN for unknown, the answer `y` of each row, and what
    splits and judges need: `moments` (day at which the outcome happened), `groups` (rows that must stay together), `segments` (by which
    fairness is shown), and further columns of the problem's own in `more`. No row names a person.
    """

    features: tuple[str, ...]
    x: Array
    y: Array
    moments: Array
    groups: Array
    segments: Array
    more: Mapping[str, Array] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Digest of every value."""
        arrays = {"x": self.x, "y": self.y, "moments": self.moments, "groups": self.groups, "segments": self.segments, **self.more}
        return digest(self.features, *(part for name in sorted(arrays) for part in (name, arrays[name])))

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        own: dict[str, Any] = {f"more_{name}": values for name, values in self.more.items()}
        np.savez_compressed(
            path,
            features=np.array(self.features),
            x=self.x,
            y=self.y,
            moments=self.moments,
            groups=self.groups,
            segments=self.segments,
            **own,
        )

    @classmethod
    def load(cls, path: Path) -> Examples:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        features = tuple(str(name) for name in arrays.pop("features"))
        more = {name.removeprefix("more_"): arrays.pop(name) for name in list(arrays) if name.startswith("more_")}
        return cls(features, more=more, **arrays)


@dataclass(frozen=True)
class Rows:
    """What a champion answers today: `x` as in Examples, and the columns that name each row. `recent` are the rows by which drift is
    measured, where those of today alone would not do.
    """

    features: tuple[str, ...]
    x: Array
    keys: Mapping[str, Array]
    recent: Array | None = None

    def select(self, features: Sequence[str]) -> Array:
        """The columns that a champion reads, in its order. Raises TooLittle if this release does not make one of them any more."""
        missing = sorted(set(features) - set(self.features))
        if missing:
            raise TooLittle(f"the champion reads {', '.join(missing)}, which this release does not make any more")
        return self.x[:, [self.features.index(name) for name in features]]


@dataclass(frozen=True)
class Split:
    """Indices into examples: `test` is judged on and never learned from; `folds` are (learn, try) pairs within `train`."""

    train: Array
    test: Array
    folds: tuple[tuple[Array, Array], ...]


@dataclass(frozen=True)
class Problem:
    """One problem, as plain functions over Examples. Predictions are [rows, outputs].

    `gather` and `today` read the marts and nothing that was not known on the day they are asked about; both raise TooLittle.
    `fit` learns from the rows of an index; `guess` answers the second index as the naive baseline would that knows the first; `score`
    gives the metric, and others by name that are shown beside it. `settle` makes what a model needs beside its trees (labels, widths of
    intervals) out of answers that it gave for rows it had not seen. `results` makes the rows of the table.
    """

    name: str
    question: str
    answer: str
    needs: tuple[str, ...]
    marts: tuple[str, ...]
    features: tuple[str, ...]
    watched: tuple[str, ...]
    metric: Metric
    baseline: str
    space: tuple[Parameter, ...]
    table: Table
    gather: Callable[[Marts, date], Examples]
    today: Callable[[Marts, date], Rows]
    split: Callable[[Examples], Split]
    fit: Callable[[Examples, Array, Parameters, int], Grown]
    guess: Callable[[Examples, Array, Array], Array]
    score: Callable[[Examples, Array, Array, Mapping[str, Any]], Mapping[str, float]]
    settle: Callable[[Examples, Array, Array], dict[str, Any]]
    results: Callable[[Rows, Array, Mapping[str, Any], date, str], Iterable[tuple[Any, ...]]]
    decay: Callable[[Marts, date, str], float | None] | None = None

    @property
    def code(self) -> str:
        """Digest of the code that makes its features and its models."""
        return _code(self.name)

    @property
    def defaults(self) -> dict[str, float]:
        """The plain model's parameters."""
        return {parameter.name: parameter.default for parameter in self.space}


class Marts:
    """The published marts of one tenant as they stand at one instant, read as the tenant's own role."""

    def __init__(self, tenant: Tenant, connection: Connection) -> None:
        self.tenant = tenant
        self._connection = connection

    def columns(self, table: str) -> frozenset[str]:
        """The columns of a mart, or of a table of predictions; none if it does not stand."""
        rows = self._connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped", (table,)
        )
        return frozenset(str(name) for (name,) in rows)

    def read(self, query: str, **parameters: Any) -> Frame:
        """The query's columns: numbers and booleans as floats (NaN: NULL), dates as days (NaT: NULL), anything else as text (None: NULL).

        The query names marts and tables of predictions without a schema, and parameters as %(name)s.
        """
        import pyarrow as pa
        from pyarrow import csv

        text = statement(query)
        described = self._connection.execute(SQL("SELECT * FROM ({}) AS described LIMIT 0").format(text), parameters)
        kinds = {column.name: column.type_code for column in described.description or ()}
        with self._connection.cursor().copy(SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(text), parameters) as copy:
            data = b"".join(bytes(block) for block in copy)
        types = {name: _arrow_type(pa, kind) for name, kind in kinds.items()}
        if not data:
            return {name: np.empty(0, dtype=_NUMPY[str(kind)]) for name, kind in types.items()}
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(column_names=list(kinds), use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, true_values=["t"], false_values=["f"]
            ),
        )
        return {name: _column(table.column(name), kinds[name]) for name in kinds}


_NUMPY: Final = {"double": "float64", "bool": "float64", "date32[day]": "datetime64[D]", "string": "object"}


def _arrow_type(pa: Any, kind: int) -> Any:
    if kind == _BOOLEAN:
        return pa.bool_()
    return pa.float64() if kind in _NUMBERS else pa.date32() if kind == _DATE else pa.string()


def _column(column: Any, kind: int) -> Array:
    values = (column.cast("uint8").cast("float64") if kind == _BOOLEAN else column).to_numpy()
    return np.asarray(values, dtype="datetime64[D]") if kind == _DATE else np.asarray(values)


@contextmanager
def open_marts(tenant: Tenant, settings: Settings) -> Iterator[Marts]:
    """The marts at one instant: a publish in the middle of the reading changes nothing of what is read."""
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Features join derived tables whose size the planner cannot know, and whole marts at that: a nested loop would be quadratic.
        connection.execute("SET LOCAL enable_nestloop = off")
        connection.execute(SQL("SET LOCAL search_path TO {}, {}").format(Identifier(tenant.marts_schema), Identifier(tenant.ml_schema)))
        yield Marts(tenant, connection)


def problem(name: str) -> Problem:
    """The problem called `name`. Raises KeyError if the catalogue has no such row."""
    found = import_module(_CATALOGUE[name]).PROBLEM
    if not isinstance(found, Problem) or found.name != name:
        raise TypeError(f"{_CATALOGUE[name]}.PROBLEM is not the problem {name}")
    return found


def catalogue() -> tuple[str, ...]:
    """The names of all problems."""
    return tuple(_CATALOGUE)


def problems_of(tenant: Tenant) -> Iterator[Problem]:
    """The problems that the tenant's tier gives and whose datasets its sources deliver: what it does not have does not exist for it."""
    for name in _CATALOGUE:
        if name in tenant.limits.problems:
            candidate = problem(name)
            if tenant.has(*candidate.needs):
                yield candidate


def require(marts: Marts, columns: Mapping[str, Sequence[str]]) -> None:
    """Raise TooLittle if a mart or a column is not published (yet)."""
    for mart, names in columns.items():
        there = marts.columns(mart)
        if not there:
            raise TooLittle(f"the mart {mart} is not published yet")
        missing = sorted(set(names) - there)
        if missing:
            raise TooLittle(f"the mart {mart} has no {', '.join(missing)}")


def digest(*parts: Any) -> str:
    """Digest of texts and arrays in this order."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype}{part.shape}".encode())
            sha.update(repr(part.tolist()).encode() if part.dtype == object else np.ascontiguousarray(part).tobytes())
        else:
            sha.update(repr(part).encode())
        sha.update(b"\x1f")
    return sha.hexdigest()[:32]


@cache
def _code(name: str) -> str:
    here = Path(__file__).parent
    files = sorted((*here.glob("*.py"), *(here / name).glob("*.py")))
    return digest(*(part for path in files for part in (path.relative_to(here).as_posix(), path.read_text(encoding="utf-8"))))
