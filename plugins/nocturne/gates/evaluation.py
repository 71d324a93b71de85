"""The door to Great Expectations: the only importer of it, inside the call.

The frame never leaves the process: an ephemeral context without analytics, progress bars, stores or data docs; results hold positions of
rows, never their values.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nocturne.gates.checks import Check

if TYPE_CHECKING:
    import pandas as pd

_RESULT = {
    "result_format": "COMPLETE",  # the least that names every failing row
    "include_unexpected_rows": False,
    "exclude_unexpected_values": True,  # values may be personal data
    "return_unexpected_index_query": False,
    "partial_unexpected_count": 0,
}


@dataclass(frozen=True)
class Verdict:
    """What the library said of one check: which rows were asked (a mask) and the positions of those that fail."""

    check: Check
    asked: NDArray[np.bool_]
    failing: NDArray[np.intp]


class NotEvaluated(Exception):
    """A check that was declared was not evaluated on all rows: nothing may be concluded."""


class Judge:
    """Great Expectations with an ephemeral context of its own, made at the first question."""

    @cached_property
    def _definition(self) -> Any:
        types = library().data_context.types.base
        stores = types.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
        config = types.DataContextConfig(store_backend_defaults=stores, analytics_enabled=False)
        context = library().get_context(project_config=config, mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        return context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("rows")

    def ask(self, frame: pd.DataFrame, checks: Sequence[Check]) -> tuple[Verdict, ...]:
        """Ask every row of `frame` (one row at least) every check; a verdict a check, in their order.

        `mostly` is left to the caller, who knows which rows belong together; checks that differ in nothing else are asked once. Raises
        NotEvaluated unless exactly the declared checks were evaluated, each on all rows and without an error.
        """
        if frame.empty:
            raise NotEvaluated("an empty frame passes every check, and so proves nothing")
        frame = frame.reset_index(drop=True)
        asked: dict[str, Check] = {}
        for check in checks:
            asked.setdefault(_question(check), check)
        expectations = [_expectation(question, check) for question, check in asked.items()]
        suite = library().ExpectationSuite(name="rows", expectations=expectations)
        outcome = self._definition.get_batch({"dataframe": frame}).validate(suite, result_format=_RESULT)
        results = {result.expectation_config.meta["question"]: result for result in outcome.results}
        if set(results) != set(asked) or len(outcome.results) != len(asked):
            raise NotEvaluated(f"{len(asked)} different checks were declared and {len(outcome.results)} evaluated")
        return tuple(_verdict(frame, check, results[_question(check)]) for check in checks)


def _question(check: Check) -> str:
    """What a check asks of each row: all of it but `mostly`."""
    return json.dumps([check.type, {name: value for name, value in check.kwargs.items() if name != "mostly"}], sort_keys=True)


def _expectation(question: str, check: Check) -> Any:
    kwargs = {name: value for name, value in check.kwargs.items() if name != "mostly"}
    return library().expectations.registry.get_expectation_impl(check.type)(**kwargs, **check.kind.always, meta={"question": question})


def _verdict(frame: pd.DataFrame, check: Check, result: Any) -> Verdict:
    if result.expectation_config.type != check.type:
        raise NotEvaluated(f"{check.place}: {check.type} was declared and {result.expectation_config.type} evaluated")
    errors = [info["exception_message"] for info in _exceptions(result.exception_info) if info.get("raised_exception")]
    seen = result.result.get("element_count")
    if errors or seen != len(frame):
        raise NotEvaluated(f"{check.place}: {check} could not be evaluated on {len(frame)} rows: {'; '.join(errors) or f'it saw {seen}'}")
    failing = np.asarray(result.result["unexpected_index_list"], dtype=np.intp)
    if check.asks_missing:
        asked = np.ones(len(frame), dtype=np.bool_)
    else:
        asked = frame[list(check.columns)].notna().all(axis=1).to_numpy(dtype=np.bool_)
    if len(failing) != result.result["unexpected_count"] or not asked[failing].all():
        raise NotEvaluated(f"{check.place}: {check} named {len(failing)} failing rows and counted {result.result['unexpected_count']}")
    return Verdict(check, asked, failing)


def _exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    """The library gives one exception's facts, or one set of them a metric."""
    return [info] if "raised_exception" in info else list(info.values())


def library() -> Any:
    """Great Expectations, quiet: without analytics, and without its own import's warnings."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        # It imports sre_constants and sre_parse, which Python calls deprecated since 3.11.
        warnings.filterwarnings("ignore", message="module 'sre_(constants|parse)' is deprecated", category=DeprecationWarning)
        import great_expectations
    return great_expectations
