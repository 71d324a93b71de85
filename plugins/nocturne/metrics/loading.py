"""The metrics' declarations, read strictly from YAML: an unknown column, mart, dimension or word is refused with file and line.

`dbt/metrics/<domain>.yml`
    domain: content                     the file's name
    owner: content team                 of its metrics; a metric may name another
    metrics:
      play_count:
        title: Plays
        formula: Number of plays.
        unit: count                     count, number, ms, seconds, ratio, amount
        adds_up: sum                    sum, ratio, share, distinct, estimate, last, first, never (see `declarations`)
        from:                           marts that hold it; the one that costs least and can answer is asked
          activity_days: {sum: play_count}
          plays: {count: rows}          rows, or a boolean column; also distinct: <column>, value: <column>, sketch: <column>
        of, over                        of a ratio: two metrics; of a share: `of` and `within`, the dimensions that make the whole
        times: 1000                     what a ratio is multiplied by: of a thousand impressions                 (optional)
        dimensions: [country, genre]    by which it may be asked (a ratio: what both have, unless it says less)
        requires: [week_number]         dimensions without which it does not add up                              (optional)
        window: 28 days                 of a distinct count                                                      (optional)
        error: ...                      of an estimate: how far from the truth it is
        estimate: ...                   of a distinct count: the estimate that is told where counting takes long         (optional)
        needs: [plays, a or b]          datasets without which a tenant does not have it; whole_market           (optional)
        boundaries: [...]               cases at the edge, and how they count                                    (optional)
        unknown: ...                    why a value may be NULL                                                  (optional)
        instead: ...                    of what does not add up: what to ask
        version: 1                      raised with each change of the meaning
A source takes also `where` (a list of tests: `column`, `not column`, `column known`, `column > 0`, `column = word`), `time` (another date
column than the mart's own), `not_by` (dimensions that mean something else in this mart), `less` (a column that is taken off what is
summed), `lasts` (month: a row is of a month, though the mart's name does not say so) and, of a sketch, `one_of` (the columns of which each
row is split by one at most).

Its `dimensions.yml` names dimensions, and the marts of facts that give others' rows more columns. A dimension that it does not name is
a column of that very name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from nocturne.datasets import DATASETS
from nocturne.metrics.declarations import (
    LEVEL,
    OR,
    WHOLE_MARKET,
    AddsUp,
    Catalogue,
    Condition,
    Dimension,
    Lookup,
    Metric,
    Source,
    Take,
    Unit,
)
from nocturne.metrics.shapes import Shape, Step, load_shapes
from nocturne.nodes import Node, read_document

_NEXT = "Correct the declaration; nothing is answered until it is right (`nocturne metrics check`)."
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TEST = re.compile(r"(?P<not>not )?(?P<column>[a-z][a-z0-9_]*)(?: (?P<known>known)| (?P<positive>> 0)| = (?P<word>[A-Za-z0-9_ -]+))?")
_FIELDS = (
    "title", "formula", "unit", "adds_up", "from", "of", "over", "times", "within", "dimensions", "requires", "window", "error",
    "estimate", "needs", "owner", "boundaries", "unknown", "instead", "version",
)  # fmt: skip
_TAKES: Mapping[AddsUp, tuple[str, ...]] = {
    AddsUp.SUM: ("sum", "count"),
    AddsUp.DISTINCT: ("distinct",),
    AddsUp.ESTIMATE: ("sketch",),
    AddsUp.LAST: ("sum",),
    AddsUp.FIRST: ("sum",),
    AddsUp.NEVER: ("value",),
}
DIMENSIONS = "dimensions.yml"


@lru_cache(maxsize=4)
def load_catalogue(folder: Path, project: Path) -> Catalogue:
    """All declarations of `folder`, checked against the marts that dbt's `project` describes. Raises SettingsError with file and line."""
    shapes = load_shapes(project)
    top = read_document(folder / DIMENSIONS, root=folder.parent, next_step=_NEXT).fields(
        allowed=("dimensions", "lookups"), required=("dimensions", "lookups")
    )
    dimensions = {name: _dimension(name, node) for name, node in top["dimensions"].fields().items()}
    lookups = tuple(_lookup(name, node, shapes) for name, node in top["lookups"].fields().items())
    metrics: dict[str, Metric] = {}
    for path in sorted(folder.glob("*.yml")):
        if path.name != DIMENSIONS:
            for name, node, metric in _file(path, folder, shapes):
                if name in metrics:
                    raise node.fail(f"the metric {name} is declared twice; the other stands in {metrics[name].place}")
                if name in dimensions or name in set(Step):
                    raise node.fail(f"{name} is a dimension's name already")
                metrics[name] = metric
    catalogue = Catalogue(metrics, dimensions, lookups)
    for path in sorted(folder.glob("*.yml")):
        if path.name != DIMENSIONS:
            _check_together(catalogue, path, folder)
    return _completed(catalogue)


def resolve(catalogue: Catalogue, shape: Shape, name: str) -> tuple[Lookup | None, str] | None:
    """How a mart tells a dimension: the lookup that it takes (None: none) and the column there; None if it does not."""
    column = catalogue.dimension(name).column
    for lookup in catalogue.lookups:
        if lookup.mart.name == shape.name and column in lookup.gives:
            return None, lookup.gives[column]
    if column in shape.columns:
        return None, column
    for lookup in catalogue.lookups:
        if lookup.by in shape.columns and column in lookup.gives:
            return lookup, lookup.gives[column]
    return None


def splits(catalogue: Catalogue, source: Source, names: Iterable[str]) -> list[str]:
    """The columns of `one_of` by which dimensions split the sketches of a source."""
    ways = (resolve(catalogue, source.mart, name) for name in names)
    return [column for lookup, column in filter(None, ways) if lookup is None and column in source.one_of]


def _dimension(name: str, node: Node) -> Dimension:
    fields = node.fields(allowed=("column", "title", "says", "missing"), required=("title", "says"))
    if not _NAME.fullmatch(name) or name in set(Step):
        raise node.fail(f"{name!r} is no name for a dimension")
    column = fields["column"].text() if "column" in fields else name
    return Dimension(name, column, fields["title"].text(), fields["says"].text(), fields["missing"].text() if "missing" in fields else None)


def _lookup(name: str, node: Node, shapes: Mapping[str, Shape]) -> Lookup:
    if name not in shapes:
        raise node.fail(f"there is no mart {name!r}; there are {', '.join(sorted(shapes))}")
    fields = node.fields(allowed=("by", "gives"), required=("by", "gives"))
    shape = shapes[name]
    by = fields["by"].word(tuple(shape.columns), "column")
    if shape.key != (by,):
        raise fields["by"].fail(f"{name} has the grain {', '.join(shape.key)}: looked up by {by}, it would multiply rows")
    gives = {given: column.word(tuple(shape.columns), "column") for given, column in fields["gives"].fields().items()}
    return Lookup(shape, by, gives)


def _file(path: Path, folder: Path, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, Node, Metric]]:
    names = ("domain", "owner", "metrics")
    top = read_document(path, root=folder.parent, next_step=_NEXT).fields(allowed=names, required=names)
    if top["domain"].text() != path.stem:
        raise top["domain"].fail(f"the file of domain {path.stem} must say so")
    for name, node in top["metrics"].fields().items():
        yield name, node, _metric(name, node, path.stem, top["owner"].text(), shapes)


def _metric(name: str, node: Node, domain: str, owner: str, shapes: Mapping[str, Shape]) -> Metric:
    fields = node.fields(allowed=_FIELDS, required=("title", "formula", "unit", "adds_up", "version"))
    if not _NAME.fullmatch(name):
        raise node.fail(f"{name!r} is no name for a metric: a-z, 0-9 and _")
    adds_up = AddsUp(fields["adds_up"].word([word.value for word in AddsUp], "way to add up"))
    _check_fields(node, fields, adds_up)
    sources = tuple(_source(mart, source, adds_up, shapes) for mart, source in fields["from"].fields().items()) if "from" in fields else ()

    def text(field: str) -> str | None:
        return fields[field].text() if field in fields else None

    def texts(field: str) -> tuple[str, ...]:
        return fields[field].texts() if field in fields else ()

    for need in fields["needs"].items() if "needs" in fields else ():
        for dataset in need.text().split(OR):
            if dataset not in DATASETS and dataset != WHOLE_MARKET:
                raise need.fail(f"there is no dataset {dataset!r}; there are {', '.join(DATASETS)} and {WHOLE_MARKET}")
    return Metric(
        name=name, domain=domain, title=fields["title"].text(), formula=fields["formula"].text(),
        unit=Unit(fields["unit"].word([unit.value for unit in Unit], "unit")), adds_up=adds_up, sources=sources,
        of=text("of"), over=text("over"), times=fields["times"].whole() if "times" in fields else 1,
        within=texts("within"), dimensions=texts("dimensions"), requires=texts("requires"),
        window=text("window"), error=text("error"), estimate=text("estimate"), needs=texts("needs"), owner=text("owner") or owner,
        boundaries=texts("boundaries"), unknown=text("unknown"), instead=text("instead"), version=fields["version"].whole(),
        place=node.place,
    )  # fmt: skip


def _check_fields(node: Node, fields: Mapping[str, Node], adds_up: AddsUp) -> None:
    """Refuse what its way to add up needs and it lacks, and what says nothing of it."""
    wanted = {AddsUp.RATIO: {"of", "over"}, AddsUp.SHARE: {"of", "within"}}.get(adds_up, {"from", "dimensions"})
    if adds_up in (AddsUp.NEVER, AddsUp.DISTINCT, AddsUp.ESTIMATE):
        wanted = wanted | {"instead"}
    if adds_up is AddsUp.ESTIMATE:
        wanted = wanted | {"error"}
    if missing := sorted(wanted - fields.keys()):
        raise node.fail(f"a metric that adds up by {adds_up} needs {', '.join(missing)}")
    may = wanted | {AddsUp.RATIO: {"times"}, AddsUp.DISTINCT: {"estimate"}}.get(adds_up, set())
    if idle := sorted(({"from", "of", "over", "times", "within", "error", "estimate"} & fields.keys()) - may):
        raise fields[idle[0]].fail(f"{idle[0]} says nothing of a metric that adds up by {adds_up}")


def _source(mart: str, node: Node, adds_up: AddsUp, shapes: Mapping[str, Shape]) -> Source:
    if mart not in shapes:
        raise node.fail(f"there is no mart {mart!r}; there are {', '.join(sorted(shapes))}")
    shape, takes = shapes[mart], _TAKES[adds_up]
    fields = node.fields(allowed=(*takes, "where", "time", "not_by", "less", "lasts", *(["one_of"] if adds_up is AddsUp.ESTIMATE else [])))
    taken = [take for take in takes if take in fields]
    if len(taken) != 1:
        raise node.fail(f"of a metric that adds up by {adds_up}, a mart gives one of {', '.join(takes)}")
    column = fields[taken[0]].text()
    take = "rows" if (taken[0], column) == ("count", "rows") else taken[0]
    if take != "rows" and column not in shape.columns:
        raise fields[taken[0]].fail(f"{mart} has no column {column!r}; it has {', '.join(shape.columns)}")
    where = tuple(_condition(item, shape) for item in fields["where"].items()) if "where" in fields else ()
    time = fields["time"].word(tuple(shape.columns), f"column of {mart}") if "time" in fields else shape.time
    if adds_up in (AddsUp.LAST, AddsUp.FIRST) and time is None:
        raise node.fail(f"{mart} has no date column, and so no {adds_up} value")
    not_by = frozenset(fields["not_by"].texts()) if "not_by" in fields else frozenset()
    if "less" in fields and take != "sum":
        raise fields["less"].fail("less says nothing where nothing is summed")
    less = fields["less"].word(tuple(shape.columns), f"column of {mart}") if "less" in fields else None
    lasts = Step(fields["lasts"].word([Step.WEEK.value, Step.MONTH.value], "length of a row")) if "lasts" in fields else None
    one_of = tuple(item.word(tuple(shape.columns), f"column of {mart}") for item in fields["one_of"].items()) if "one_of" in fields else ()
    if take == "sketch" and LEVEL not in shape.columns:
        raise fields[taken[0]].fail(f"{mart} has no column {LEVEL!r}, by which its sketches are told apart")
    return Source(shape, cast("Take", take), "*" if take == "rows" else column, where, time, not_by, less, lasts, one_of)


def _condition(node: Node, shape: Shape) -> Condition:
    found = _TEST.fullmatch(node.text())
    if found is None:
        raise node.fail(f"{node.text()!r} is no test; there are `column`, `not column`, `column known`, `column > 0`, `column = word`")
    given, column = found.groupdict(), found["column"]
    if column not in shape.columns:
        raise node.fail(f"{shape.name} has no column {column!r}; it has {', '.join(shape.columns)}")
    if given["not"] and (given["known"] or given["positive"] or given["word"]):
        raise node.fail("`not` stands before a column alone")
    for test in ("known", "positive", "word", "not"):
        if given[test]:
            return Condition(column, cast("Any", test), given["word"] or "")
    return Condition(column, "true")


def _check_together(catalogue: Catalogue, path: Path, folder: Path) -> None:
    """Refuse what only shows once all files are read: metrics that a ratio names, dimensions that no mart of a metric tells."""
    nodes = read_document(path, root=folder.parent, next_step=_NEXT).fields()["metrics"].fields()
    for name, node in nodes.items():
        metric, fields = catalogue.metrics[name], node.fields()
        for field in ("of", "over"):
            if field in fields:
                part = catalogue.metrics[fields[field].word(tuple(catalogue.metrics), "metric")]
                if part.adds_up in (AddsUp.RATIO, AddsUp.SHARE, AddsUp.NEVER):
                    raise fields[field].fail(f"{part.name} does not add up, and so nothing is divided by or made of it")
        if "estimate" in fields:
            estimates = tuple(one.name for one in catalogue.metrics.values() if one.adds_up is AddsUp.ESTIMATE)
            fields["estimate"].word(estimates, "estimate")
        for field in ("dimensions", "requires", "within"):
            for item in fields[field].items() if field in fields else ():
                _check_dimension(catalogue, metric, item)
        for mart, source in fields["from"].fields().items() if "from" in fields else ():
            for item in source.fields()["not_by"].items() if "not_by" in source.fields() else ():
                item.word([*catalogue.dimensions, *catalogue.metrics[name].dimensions], f"dimension that {mart} could tell")


def _check_dimension(catalogue: Catalogue, metric: Metric, item: Node) -> None:
    name = item.text()
    if name in set(Step):
        raise item.fail(f"{name} is a length of time: by what its marts have it is asked without a word")
    for part in catalogue.parts(metric):
        if part is not metric and name not in part.dimensions:
            raise item.fail(f"{part.name} may not be asked by {name}")
        if not any(resolve(catalogue, source.mart, name) for source in part.sources if name not in source.not_by):
            marts = ", ".join(source.mart.name for source in part.sources)
            raise item.fail(f"there is no dimension {name!r} in {marts}; declared ones are {', '.join(catalogue.dimensions)}")


def _completed(catalogue: Catalogue) -> Catalogue:
    """Ratios and shares ask for what all their parts ask for; without a word of their own, they may be asked by what all parts have."""
    whole = {}
    for name, metric in catalogue.metrics.items():
        parts = catalogue.parts(metric)
        shared = tuple(one for one in parts[0].dimensions if all(one in part.dimensions for part in parts))
        required = dict.fromkeys([*metric.requires, *(one for part in parts for one in part.requires)])
        whole[name] = replace(metric, dimensions=metric.dimensions or shared, requires=tuple(required))
    return Catalogue(whole, catalogue.dimensions, catalogue.lookups)
