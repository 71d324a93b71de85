"""The model card: what a model is for, what it learned from and how well it does, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def write(metadata: Mapping[str, Any]) -> str:
    """The card of a model as Markdown, from its metadata."""
    return "\n".join(_lines(metadata)) + "\n"


def _lines(metadata: Mapping[str, Any]) -> Iterator[str]:
    metric, baseline, rows = metadata["metric"], metadata["baseline"], metadata["rows"]
    window, judged = metadata["window"], metadata["judged_window"]
    yield f"# {metadata['tenant']}: {metadata['problem']}"
    yield ""
    yield f"**Question.** {metadata['question']}"
    yield ""
    yield f"**Answer.** {metadata['answer']}"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield f"| trained on | {metadata['trained_on']} |"
    yield f"| learned from | {rows['all']} rows with outcomes from {window['from']} to {window['to']} |"
    yield f"| judged on | {rows['test']} rows with outcomes from {judged['from']} to {judged['to']}, unseen when they were judged |"
    better = "higher" if metric["higher_is_better"] else "lower"
    yield f"| {metric['name']} ({better} is better) | {metric['value']:.4g} |"
    yield f"| baseline: {baseline['name']} | {baseline['value']:.4g} |"
    for name, value in sorted(metadata["scores"].items()):
        if name != metric["name"]:
            yield f"| {name} | {value:.4g} |"
    yield ""
    yield f"{metric['name']}: {metric['description']}."
    yield ""
    yield "The trees that serve were learned from all rows with the parameters that were judged."
    yield ""
    yield "## For whom it works"
    yield ""
    yield from _segments(metadata)
    yield ""
    yield "## What it looks at"
    yield ""
    yield ", ".join(f"`{name}`" for name in metadata["features"])
    yield ""
    yield "## Parameters"
    yield ""
    yield ", ".join(f"{name} {value:.4g}" for name, value in sorted(metadata["parameters"].items()))


def _segments(metadata: Mapping[str, Any]) -> Iterator[str]:
    name = metadata["metric"]["name"]
    if not metadata["segments"]:
        yield "No segment has the 50 judged rows that a number of its own needs."
        return
    yield f"| segment | judged rows | {name} |"
    yield "| --- | --- | --- |"
    for segment, values in sorted(metadata["segments"].items()):
        yield f"| {segment} | {values['rows']} | {values[name]:.4g} |"
