"""Suites of checks, read strictly from YAML: what is declared is what is loaded, or nothing is.

The library drops an expectation whose type it does not know, and the suite then passes with nothing checked. Here an unknown kind, keyword,
column, value or field is refused when the file is read, with file and line.

`expectations/bronze/<dataset>.yml`
    dataset: plays
    may_be_empty: why a delivery without rows is ordinary   (optional)
    rows:      checks of each row; `mostly` holds for each batch by itself
`expectations/bronze/every_dataset.yml`
    batches:   checks of every batch of every dataset: of its measures (see `MEASURES`)
`expectations/marts/<domain>.yml`
    domain: engagement
    marts:
      activity_days:
        needs: datasets without which a tenant has no such mart (`a or b`: one of them is enough)
        day: the mart's date column; only the dates that the build changed are asked (optional: all rows are)
        columns: the columns asked, each with its type
        derive: further columns, each an SQL expression over the mart's rows, of type NUMBER (optional)
        rows: checks of each row
A check is `type`, `kwargs`, `severity` (stop, warn) and `why`; with `guards` (reconciliation, isolation) no tenant's file touches it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from nocturne.datasets import DATASETS, Type
from nocturne.errors import SettingsError
from nocturne.gates.checks import Check, faults
from nocturne.nodes import Node, read_document
from nocturne.tenants import Tenant

EVERY = "every_dataset"
_OR = " or "
PROBLEMS = "_problem_count"
AGE = "_age_days"
WRONG_CODES = "_wrong_code_count"
ROW_MEASURES: Mapping[str, Type] = {PROBLEMS: Type.INTEGER, AGE: Type.INTEGER, WRONG_CODES: Type.INTEGER}
"""What a row is asked beside its own columns: how many of its values could not be read; days from its event date to its delivery; how many
of its codes have the form of one and are none (a country that does not exist, a check digit that does not fit)."""

MEASURES: Mapping[str, Type] = {
    "rows": Type.INTEGER,
    "rows_lost": Type.INTEGER,
    "rows_to_floor": Type.NUMBER,
    "rows_to_usual": Type.NUMBER,
    "state_to_usual": Type.NUMBER,
    "rows_deviation": Type.NUMBER,
    "empty_required_count": Type.INTEGER,
    "fill_drop": Type.NUMBER,
    "unknown_rise": Type.NUMBER,
    "skew": Type.NUMBER,
    "chi_square": Type.NUMBER,
    "shift": Type.NUMBER,
    "crowding": Type.NUMBER,
    "novelty": Type.NUMBER,
    "clock": Type.NUMBER,
}
"""What a batch is asked.

rows                  rows kept (delivered less those that the source's condition leaves out); unknown where an empty delivery is ordinary
rows_lost             rows that loading counted and the lake does not hold
rows_to_floor         rows / the fewest that are believable beside the usual number and its scatter (see `history.Usual.of_floor`)
rows_to_usual         rows / the usual number (of the same weekday, with the trend); unknown while the history is short or that is small
state_to_usual        the same, of a source that delivers its whole state each night; unknown of daily deliveries
rows_deviation        the same difference in robust standard deviations of the root of that number
empty_required_count  required columns without a single value
fill_drop             the largest fall of a column's share of filled rows below its usual share
unknown_rise          how far the share of rows that name a track, artist, listener or plan which no register has rose above its usual one
skew                  how far a mix (countries, platforms, currencies, days late) is from the last weeks (see `history.skew`)
chi_square            a mix (countries, platforms, currencies, hours) against what chance and its past explain (see `history.chi_square`)
shift                 how far a column's values (durations, amounts) lie from those of the last four weeks (see `history.shift`)
novelty               the largest share of rows with a country, platform or currency, or a duration or amount beyond all, of the last weeks
clock                 whether the hours of the day are the usual ones turned by some hours (see `history.clock`)
crowding              how far the share of the commonest listener or track lies above that of the last four weeks (see `history.crowding`)

What is usual is what the source's own last batches were: of a daily source those of the same weekday in the last eight weeks (five are
enough), and until there are five, the last 28 of whatever weekday (seven are enough, three of a source that delivers its whole state).
Before that nothing is usual, and these measures are unknown.
"""
ACCEPTABLE = frozenset(MEASURES) - {"rows_lost", "empty_required_count"}
"""What is merely unlike all before, and so may be right; a person may say so of a day (`accept` beside the source)."""


def row_columns(dataset: str) -> dict[str, Type]:
    """What the checks of a dataset's rows may ask: its own columns, and what is measured of a row."""
    return {column.name: column.type for column in DATASETS[dataset].columns} | dict(ROW_MEASURES)


@dataclass(frozen=True)
class Suite:
    """The checks of the rows of one dataset's batches."""

    dataset: str
    rows: tuple[Check, ...]
    may_be_empty: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the checks of rows read, each once."""
        return tuple(dict.fromkeys(name for check in self.rows for name in check.columns))


@dataclass(frozen=True)
class MartSuite:
    """The checks of one mart's rows."""

    mart: str
    domain: str
    needs: tuple[str, ...]
    day: str | None
    columns: Mapping[str, Type]
    derive: Mapping[str, str]
    rows: tuple[Check, ...]

    def is_of(self, tenant: Tenant) -> bool:
        """Whether a tenant has the mart."""
        return all(any(tenant.has(dataset) for dataset in need.split(_OR)) for need in self.needs)


def load_suite(folder: Path, dataset: str) -> Suite:
    """The checks of the rows of `dataset`. Reads one file below `folder`; raises SettingsError with file and line for whatever is not
    exactly right, and if there is no suite: a dataset without checks would flow around its gate.
    """
    top = _read(folder, f"bronze/{dataset}.yml").fields(allowed=("dataset", "may_be_empty", "rows"), required=("dataset", "rows"))
    if top["dataset"].text() != dataset or dataset not in DATASETS:
        raise top["dataset"].fail(f"the suite of {dataset} must say `dataset: {dataset}`, a dataset of the catalogue")
    return Suite(dataset, _checks(top["rows"], row_columns(dataset)), "may_be_empty" in top and bool(top["may_be_empty"].text()))


def load_batch_checks(folder: Path) -> tuple[Check, ...]:
    """The checks of every batch of every dataset. Reads one file below `folder`; raises SettingsError with file and line."""
    top = _read(folder, f"bronze/{EVERY}.yml").fields(allowed=("batches",), required=("batches",))
    checks = _checks(top["batches"], MEASURES)
    if partly := [check for check in checks if check.mostly < 1]:
        raise SettingsError(f"{partly[0].place}: a batch passes or fails; `mostly` says nothing here.", next_step="Leave `mostly` out.")
    return checks


def suite_fingerprint(folder: Path, dataset: str) -> str:
    """Digest of the files that hold the checks of `dataset`'s batches; needs no reading of what they say."""
    return _digest(*(_bytes(folder / "bronze" / f"{name}.yml") for name in (EVERY, dataset)))


def load_mart_suites(folder: Path, known: Collection[str]) -> tuple[MartSuite, ...]:
    """The suites of all marts, by file and place in it; `known` are the marts that there are. Raises SettingsError with file and line."""
    suites: list[MartSuite] = []
    for path in sorted((folder / "marts").glob("*.yml")):
        top = _read(folder, f"marts/{path.name}").fields(allowed=("domain", "marts"), required=("domain", "marts"))
        if top["domain"].text() != path.stem:
            raise top["domain"].fail(f"the file of domain {path.stem} must say so")
        for mart, node in top["marts"].fields().items():
            if mart not in known:
                raise node.fail(f"there is no mart {mart!r}; there are {', '.join(sorted(known))}")
            suites.append(_mart(mart, path.stem, node))
    return tuple(suites)


def _mart(mart: str, domain: str, node: Node) -> MartSuite:
    fields = node.fields(allowed=("needs", "day", "columns", "derive", "rows"), required=("needs", "columns", "rows"))
    needs = tuple(item.text() for item in fields["needs"].items())
    if unknown := [name for need in needs for name in need.split(_OR) if name not in DATASETS]:
        raise fields["needs"].fail(f"there are no datasets {', '.join(unknown)}")
    columns = {name: _type(item) for name, item in fields["columns"].fields().items()}
    derive = {name: item.text() for name, item in fields["derive"].fields().items()} if "derive" in fields else {}
    rows = _checks(fields["rows"], columns | dict.fromkeys(derive, Type.NUMBER))
    day = fields["day"].text() if "day" in fields else None
    return MartSuite(mart, domain, needs, day, columns, derive, rows)


def _type(node: Node) -> Type:
    name = node.text().upper()
    if name not in Type.__members__:
        raise node.fail(f"there is no type {name!r}; there are {', '.join(Type.__members__)}")
    return Type[name]


def _checks(node: Node, columns: Mapping[str, Type]) -> tuple[Check, ...]:
    items = list(node.items())
    if not items:
        raise node.fail("the list of checks is empty: nothing would be checked")
    return tuple(_check(item, columns) for item in items)


def _check(node: Node, columns: Mapping[str, Type]) -> Check:
    names = ("type", "kwargs", "severity", "why")
    fields = node.fields(allowed=(*names, "guards"), required=names)
    given = {name: item.value() for name, item in fields["kwargs"].fields().items()}
    if wrong := faults(fields["type"].text(), given, columns):
        raise node.fail("; ".join(wrong))
    severity = fields["severity"].value()
    if severity not in ("stop", "warn"):
        raise fields["severity"].fail(f"the severity is stop or warn, not {severity!r}")
    guards = fields["guards"].value() if "guards" in fields else None
    if guards not in (None, "reconciliation", "isolation"):
        raise fields["guards"].fail(f"a check guards reconciliation or isolation, not {guards!r}")
    return Check(fields["type"].text(), given, severity, fields["why"].text(), node.place, guards)


def _read(folder: Path, name: str) -> Node:
    _bytes(folder / name)
    return read_document(folder / name, root=folder.parent, next_step="Correct the suite; nothing is checked until it is right.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"The suite {path} cannot be read: {error.strerror}.",
            next_step="Write it: a dataset without a suite passes no gate.",
        ) from error


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\x1f".join(parts)).hexdigest()[:32]
