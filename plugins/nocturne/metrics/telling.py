"""A metric in words: for the terminal, and for the page of dbt's documentation."""

from __future__ import annotations

from collections.abc import Iterator

from nocturne.metrics.declarations import AddsUp, Catalogue, Metric
from nocturne.metrics.shapes import Step

_HOW = {
    AddsUp.SUM: "over time and members",
    AddsUp.RATIO: "each part by itself; what is divided are the sums",
    AddsUp.SHARE: "the part over the whole of the same time",
    AddsUp.DISTINCT: "never; it is counted anew over exactly what is asked",
    AddsUp.ESTIMATE: "never; it is told anew from sketches of exactly what is asked",
    AddsUp.LAST: "over members, not over time: the value at the end of the time",
    AddsUp.FIRST: "over members, not over time: the value at the beginning of the time",
    AddsUp.NEVER: "never; each value stands for its own time and members",
}


def how(metric: Metric) -> str:
    """How it adds up, in words."""
    of = {
        AddsUp.RATIO: f" ({metric.of} / {metric.over}{f' x {metric.times:,}' if metric.times > 1 else ''})",
        AddsUp.SHARE: f" ({metric.of} of one {metric.within[0]} / of all)" if metric.within else "",
        AddsUp.DISTINCT: f" ({metric.estimate} where counting takes longer than an answer may)" if metric.estimate else "",
        AddsUp.ESTIMATE: f" ({metric.error})",
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


_INTRODUCTION = """\
# Nocturne's marts

What a night of Nocturne leaves for people, models and reports to read. Every tenant has the same marts in a schema of its own,
`<tenant>_marts`; what a tenant does not deliver does not exist for it.

- **Marts** stand under *Project* on the left: `nocturne / models / marts`, by domain. Each says its grain last ("One row a ...") and of
  every column what it means; the round button shows what it is made of.
- **What reads them** stands under *Exposures*: the pages of the report, the models, the insights.
- **Metrics** are below: each number that people ask for, with how it adds up. They are asked by
  `nocturne query <tenant> --metrics play_count,skip_rate --by genre,month`, or from Python by `nocturne.metrics.execute_query`.

## How metrics add up

| | |
| --- | --- |
| sum | over time and members |
| ratio | of two metrics, each added up first; ratios are never averaged |
| share | of one member in the whole of the same time |
| distinct | people counted anew over exactly what is asked; rows never add up to each other. Where that takes longer than an answer may, \
the answer is an estimate and says so, or is refused; `--exact` counts however long it takes |
| estimate | the same, told from sketches within the error that it states |
| last, first | the value at the end or the beginning of the time; it adds up over members, not over time |
| never | each value stands for its own time and members |
"""


def overview(catalogue: Catalogue) -> str:
    """The first page of dbt's documentation, in Markdown: what there is, and every metric by domain."""
    parts = [_INTRODUCTION]
    domains = dict.fromkeys(metric.domain for metric in catalogue.metrics.values())
    for domain in sorted(domains, key=lambda name: (name == "operations", name != "engagement", name)):
        of_domain = [metric for metric in catalogue.metrics.values() if metric.domain == domain]
        parts.append(
            f"## Metrics: {domain}\n\n| metric | what it is | adds up | may be asked by | stands in |\n| --- | --- | --- | --- | --- |"
        )
        parts.append("\n".join(_row(catalogue, metric) for metric in of_domain) + "\n")
    parts.append("## Dimensions\n\n| dimension | what it is |\n| --- | --- |")
    parts.append("\n".join(f"| `{one.name}` | {_cell(one.says)} |" for one in catalogue.dimensions.values()) + "\n")
    return "\n".join(parts)


def _row(catalogue: Catalogue, metric: Metric) -> str:
    marts = dict.fromkeys(source.mart.name for part in catalogue.parts(metric) for source in part.sources)
    links = ", ".join(f"[{mart}](#!/model/model.nocturne.{mart})" for mart in marts)
    edges = "".join(f" *{_cell(text)}*" for text in metric.boundaries)
    what = f"**{_cell(metric.title)}.** {_cell(metric.formula)}{edges} *Owner: {_cell(metric.owner)}.*"
    steps = catalogue.steps(metric)
    by = ", ".join([*(["any time"] if len(steps) == len(Step) else steps), *metric.dimensions]) or "nothing: it says what is so now"
    made = {AddsUp.RATIO: f": {metric.of} / {metric.over}", AddsUp.SHARE: f": of {metric.of}"}.get(metric.adds_up, "")
    window = f" ({metric.window})" if metric.window else ""
    return f"| `{metric.name}` v{metric.version} | {what} | {metric.adds_up}{made}{window} | {by} | {links} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
