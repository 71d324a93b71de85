"""Every station by name: where its function stands and what the person on call needs to know of it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from nocturne.receipts import Receipt


@dataclass(frozen=True)
class Station:
    """One station: `function` as `module:name`, what it `leaves`, and `triage`, the notes for the person on call.

    `changes_tenant`: it runs under the tenant's lease. `ends_change`: the lease is given back after it.
    """

    name: str
    function: str
    leaves: str
    triage: str
    changes_tenant: bool = False
    ends_change: bool = False

    def load(self) -> Callable[..., Receipt]:
        """The station's function. Imports its module, which may be heavy: call it only where the station runs."""
        module, name = self.function.split(":")
        function: Callable[..., Receipt] = getattr(import_module(module), name)
        return function

    @property
    def documentation(self) -> str:
        """What the Airflow UI shows beside the task."""
        return f"**{self.name}** leaves {self.leaves}.\n\n**When it fails:** {self.triage}\n"


# The lease begins with bronze: two runs that load the same batch at once would each add its rows, and silver must not read a batch that
# another run is replacing.
_STATIONS = (
    Station(
        "land",
        "nocturne.landing:land",
        "the raw bytes of every delivery with a manifest, below `landing/`",
        "the message names source, location and the next step. A missing required source: ask its owner, then clear this task. "
        "A source that does not answer is tried again by itself.",
    ),
    Station(
        "load_bronze",
        "nocturne.bronze:load_bronze",
        "Delta `bronze/<dataset>`, each batch replaced whole",
        "an unreadable file or an absent column is named with its file. Have the file delivered again (it is taken again when it changed), "
        "or correct the mapping in the tenant's file; then clear this task.",
        changes_tenant=True,
    ),
    Station(
        "gate_bronze",
        "nocturne.gates:gate_bronze",
        "a receipt; batches that passed are open to silver",
        "the message names the check, what was seen and what was allowed. Nothing flows around the gate: correct the delivery, or the "
        "check in `expectations/bronze/`, then clear this task. Yesterday's marts and reports stand. Every check and the rows that "
        "fail it: `reports/<tenant>/quality/index.html`.",
        changes_tenant=True,
    ),
    Station(
        "refine_silver",
        "nocturne.silver:refine_silver",
        "Delta `silver/<dataset>` (only the event dates touched) and `quarantine/<dataset>`",
        "counts that do not add up are a defect of ours, never of the delivery: keep the lake as it is and report the numbers.",
        changes_tenant=True,
    ),
    Station(
        "load_warehouse",
        "nocturne.warehouse:load_warehouse",
        "the changed dates in `<tenant>_raw`, and the list of touched dates",
        "PostgreSQL is away or full: the task is tried again by itself, and does what is left.",
        changes_tenant=True,
    ),
    Station(
        "build_marts",
        "nocturne.marts:build_marts",
        "`<tenant>_build`, beside the published marts",
        "the message names the dbt model or test and the compiled SQL. Published marts are untouched.",
        changes_tenant=True,
    ),
    Station(
        "gate_marts",
        "nocturne.gates:gate_marts",
        "a receipt, or nothing is published",
        "a failed reconciliation names both sides and the difference. Published marts are untouched; correct the cause and clear from "
        "the task that makes the wrong side. Every check and the rows that fail it: `reports/<tenant>/quality/index.html`.",
        changes_tenant=True,
    ),
    Station(
        "publish_marts",
        "nocturne.marts:publish_marts",
        "`<tenant>_marts`, the changed rows replaced in one transaction",
        "it is all or nothing: clear the task. If it went on without publishing, publishing is held: see the DAG `<tenant>__rollback`.",
        changes_tenant=True,
        ends_change=True,
    ),
    Station(
        "predict",
        "ml.prediction:predict",
        "predictions of each problem's champion in `<tenant>_ml`",
        "a problem without a champion is no failure: training starts by itself. Otherwise clear the task.",
    ),
    Station(
        "find_insights",
        "nocturne.insights:find_insights",
        "`<tenant>_ml.insights`: what changed and why",
        "clear the task; the reports can also be rendered without it.",
    ),
    Station(
        "render_reports",
        "nocturne.reports:render_reports",
        "`reports/<day>/`: PDF, workbook and pictures",
        "no Chromium, or one that hangs: the message says what to install. Clear the task.",
    ),
    Station(
        "watch_models",
        "ml.training:watch_models",
        "what was seen of each model; when one is due, the event that starts the training DAG. Skipped when none is due",
        "clear the task; the night's numbers are published already.",
    ),
)

STATIONS: Mapping[str, Station] = {station.name: station for station in _STATIONS}
"""The stations of a night in their order, all but `raise_alerts`, which knows the others' outcomes."""

ALERTS = Station(
    "raise_alerts",
    "nocturne.alerts:raise_alerts",
    "the alert ledger; it runs whatever happened before, and fails when the night failed",
    "this task fails when another one did: look there. If it alone failed, an alert was not delivered: clear it.",
)

MAINTENANCE = Station(
    "tidy_lake",
    "nocturne.maintenance:tidy_lake",
    "the same rows in fewer files; files that no kept version names are gone",
    "no night depends on it: clear the task. If the disk is full, lower `NOCTURNE_KEEP_HOURS` for one run.",
    changes_tenant=True,
    ends_change=True,
)

PACKING = Station(
    "pack_landing",
    "nocturne.landing:pack_landing",
    "raw files of more than `NOCTURNE_PACK_DAYS` ago packed, and encrypted if the tenant's file says so; they hold the same",
    "no night depends on it: clear the task.",
    changes_tenant=True,
    ends_change=True,
)

TRIM = Station(
    "trim_journal",
    "nocturne.marts:trim_journal",
    "the publish journal with what undoes the last 30 publishes, and no more",
    "no night depends on it: clear the task.",
    changes_tenant=True,
    ends_change=True,
)

TRIM_DELIVERIES = Station(
    "trim_deliveries",
    "nocturne.landing:trim_deliveries",
    "what was delivered and replaced in the last `NOCTURNE_KEEP_DAYS`, and no more",
    "no night depends on it: clear the task.",
    changes_tenant=True,
    ends_change=True,
)

STEER_DELIVERIES = Station(
    "steer_deliveries",
    "nocturne.landing:steer_deliveries",
    "an earlier delivery of a source for a day in `landing/`, or none; the next night follows",
    "nothing was changed, and the message says what can be chosen. Cleared, it does not go back twice.",
    changes_tenant=True,
    ends_change=True,
)

STEER = Station(
    "steer_marts",
    "nocturne.marts:steer_marts",
    "`<tenant>_marts` as an earlier publish left them, and publishing held until somebody releases it",
    "it is all or nothing, and the message says how far the journal leads back. Cleared, it does not go back twice; to go back further, "
    "trigger another run.",
    changes_tenant=True,
    ends_change=True,
)

TRAINING: Mapping[str, Station] = {
    step: Station(
        step,
        f"ml.training:{step}",
        leaves,
        "the message names the problem. Clear the task; the champion in force goes on serving until a better one is promoted.",
    )
    for step, leaves in {
        "tune": "the best parameters that Optuna found",
        "train": "a model fitted on all of the training window, in MLflow",
        "judge": "its metric beside the naive baseline's and the champion's on the same unseen window",
        "promote": "the alias `champion`, if the judgement allows it",
    }.items()
}
"""The steps of a training in their order."""
