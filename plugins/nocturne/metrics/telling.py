"""A metric in words: for the terminal, and for the page of dbt's documentation."""

from __future__ import annotations

from collections.abc import Iterator

from nocturne.metrics.declarations import AddsUp, Catalogue, Metric

_HOW = {
    AddsUp.SUM: "over time and members",
    AddsUp.RATIO: "each part by itself; what is divided are the sums",
    AddsUp.SHARE: "the part over the whole of the same time",
    AddsUp.DISTINCT: "never; it is counted anew over exactly what is asked",
    AddsUp.LAST: "over members, not over time: the value at the end of the time",
    AddsUp.FIRST: "over members, not over time: the value at the beginning of the time",
    AddsUp.NEVER: "never; each value stands for its own time and members",
}


def how(metric: Metric) -> str:
    """How it adds up, in words."""
    of = {
        AddsUp.RATIO: f" ({metric.of} / {metric.over})",
        AddsUp.SHARE: f" ({metric.of} of one {metric.within[0]} / of all)" if metric.within else "",
        AddsUp.NEVER: f" (window: {metric.window})" if metric.window else "",
    }.get(metric.adds_up, "")
    return f"{metric.adds_up}: {_HOW[metric.adds_up]}{of}"


def stands_in(catalogue: Catalogue, metric: Metric) -> str:
    """The marts and columns that hold it, or its parts."""
    columns = {
        f"{one.mart.name}.{one.column}" if one.column != "*" else one.mart.name for part in catalogue.parts(metric) for one in part.sources
    }
    return ", ".join(sorted(columns))


def told(catalogue: Catalogue, metric: Metric) -> Iterator[tuple[str, str]]:
    """(what, text) of everything that is declared of a metric."""
    yield "metric", f"{metric.name}, version {metric.version}"
    yield "title", metric.title
    yield "formula", metric.formula
    yield "unit", metric.unit
    yield "adds up", how(metric)
    yield "by", ", ".join([*catalogue.steps(metric), *metric.dimensions]) or "nothing: it says what is so now"
    yield "stands in", stands_in(catalogue, metric)
    yield "needs", ", ".join(catalogue.needs(metric)) or "nothing"
    yield "owner", metric.owner
    for title, texts in (("at the edge", metric.boundaries), ("empty where", (metric.unknown,)), ("instead", (metric.instead,))):
        yield from ((title, text) for text in texts if text)
