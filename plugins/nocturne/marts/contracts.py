"""What the published marts promise: columns, types and grain of each, by version.

`dbt/contracts/marts.yml` holds the promises; a mart's description in dbt says which version it is (`config: {meta: {version: 2}}`; without
a word: 1). A change that breaks what reads a mart (a column gone, another type, another grain) needs a new version; what only adds is
taken. dbt's own enforced contracts know of no earlier version, want every type written beside its column, and make a whole build cost a
seventh more (see `benchmarks/RESULTS.md`): here a test of the code holds the promise once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from nocturne.errors import SettingsError
from nocturne.nodes import Node, read_document
from nocturne.postgres import fetch
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_NEXT = "Correct it, or write it anew (`make contracts`)."
_HEAD = """\
# What the published marts promise, by mart: version, grain, columns and their types in PostgreSQL. Written by `make contracts`,
# which refuses a change that breaks readers while the mart's version (`config: {meta: {version: ...}}` beside its description) is the same.
"""


@dataclass(frozen=True)
class Contract:
    """What one mart promises."""

    mart: str
    version: int
    grain: tuple[str, ...]
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """How a mart differs from what it promised; `is_breaking`: what read it may no longer."""

    text: str
    is_breaking: bool


def differences(promised: Contract, now: Contract) -> Iterator[Change]:
    """Every way in which a mart differs from its promise."""
    mart = promised.mart
    if promised.grain != now.grain:
        yield Change(f"{mart}: its grain was {', '.join(promised.grain)} and is {', '.join(now.grain)}", is_breaking=True)
    for column, kind in promised.columns.items():
        if column not in now.columns:
            yield Change(f"{mart}.{column} is gone", is_breaking=True)
        elif now.columns[column] != kind:
            yield Change(f"{mart}.{column} was {kind} and is {now.columns[column]}", is_breaking=True)
    for column in now.columns:
        if column not in promised.columns:
            yield Change(f"{mart}.{column} is new", is_breaking=False)


def broken(promised: Mapping[str, Contract], now: Mapping[str, Contract]) -> list[str]:
    """What is broken without a new version, one line each: nothing may be."""
    lines = []
    for mart, contract in now.items():
        before = promised.get(mart)
        if before and contract.version <= before.version:
            lines += [change.text for change in differences(before, contract) if change.is_breaking]
    return lines


def load_contracts(path: Path) -> dict[str, Contract]:
    """The promises by mart. Raises SettingsError with file and line."""
    return {mart: _contract(mart, node) for mart, node in read_document(path, root=path.parent.parent, next_step=_NEXT).fields().items()}


def _contract(mart: str, node: Node) -> Contract:
    names = ("version", "grain", "columns")
    fields = node.fields(allowed=names, required=names)
    columns = {name: kind.text() for name, kind in fields["columns"].fields().items()}
    for column in fields["grain"].items():
        column.word(tuple(columns), "column")
    return Contract(mart, fields["version"].whole(), fields["grain"].texts(), columns)


def described(project: Path) -> dict[str, tuple[int, tuple[str, ...]]]:
    """(version, grain) of every mart that dbt's project describes."""
    found = {}
    for path in sorted((project / "models" / "marts").rglob("*.yml")):
        for model in (yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader) or {}).get("models", ()):
            version = model.get("config", {}).get("meta", {}).get("version", 1)
            grain = next(test["grain"]["arguments"]["key"] for test in model["data_tests"] if "grain" in test)
            found[model["name"]] = (int(version), tuple(grain))
    return found


def built_contracts(tenant: Tenant, settings: Settings) -> dict[str, Contract]:
    """What a tenant's built marts hold now."""
    rows = fetch(
        settings,
        "SELECT c.relname AS mart, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS kind FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND a.attnum > 0"
        " AND NOT a.attisdropped ORDER BY c.relname, a.attnum",
        (tenant.build_schema,),
        role=tenant.owner_role,
    )
    columns: dict[str, dict[str, str]] = {}
    for row in rows:
        columns.setdefault(row["mart"], {})[row["name"]] = row["kind"]
    known = described(settings.dbt_project)
    return {mart: Contract(mart, *known[mart], columns[mart]) for mart in sorted(known) if mart in columns}


def write_contracts(tenant: Tenant, settings: Settings) -> list[str]:
    """Bring the promises to what a tenant's marts are now; what has changed. Marts that the tenant does not have keep theirs.

    Raises SettingsError for a change that breaks readers of a mart whose version was not raised, and writes nothing then.
    """
    path = settings.contracts / "marts.yml"
    promised, now = load_contracts(path) if path.exists() else {}, built_contracts(tenant, settings)
    if lines := broken(promised, now):
        raise SettingsError(
            "Readers of the marts would break:\n" + "\n".join(f"- {line}" for line in lines) + "\n",
            next_step="Leave the marts as they were, or raise their version (`config: {meta: {version: ...}}` beside their description).",
        )
    known = described(settings.dbt_project)
    whole = {mart: contract for mart, contract in sorted({**promised, **now}.items()) if mart in known}
    document = {mart: {"version": one.version, "grain": list(one.grain), "columns": dict(one.columns)} for mart, one in whole.items()}
    path.parent.mkdir(exist_ok=True)
    path.write_text(_HEAD + yaml.safe_dump(document, sort_keys=False, default_flow_style=False, width=140), encoding="utf-8")
    changes = [change.text for mart, one in now.items() if mart in promised for change in differences(promised[mart], one)]
    gone = [f"{mart} is gone" for mart in sorted(promised.keys() - whole.keys())]
    return [*changes, *(f"{mart} is new" for mart in sorted(now.keys() - promised.keys())), *gone]
