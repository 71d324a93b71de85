"""What a worker has in memory before it forks a task: a fork shares it, where each task would import it anew.

Only imports, no threads, connections or files: those do not survive a fork. A module that cannot be imported is left out and named in
the log: the task that needs it says so itself.
"""

from __future__ import annotations

import logging
import time
import warnings
from importlib import import_module

MODULES = (
    "numpy",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pandas",
    "duckdb",
    "deltalake",
    "psycopg",
    "adbc_driver_postgresql.dbapi",
    "sqlglot",
    "httpx",
    "great_expectations",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "lightgbm",
    "xgboost",
    "plotly.graph_objects",
    "kaleido",
    "weasyprint",
    "xlsxwriter",
    "jinja2",
    "nocturne.landing",
    "nocturne.bronze",
    "nocturne.silver",
    "nocturne.warehouse",
    "nocturne.marts",
    "nocturne.gates",
    "nocturne.insights",
    "nocturne.alerts",
    "nocturne.reports",
    "ml.prediction",
    "ml.training",
)
_log = logging.getLogger(__name__)


def preload() -> float:
    """Import MODULES; the CPU seconds that it took."""
    started = time.process_time()
    for module in MODULES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import_module(module)
        except ImportError as error:
            _log.warning("preload: %s is left out: %s", module, error)
    spent = time.process_time() - started
    _log.info("preload: %d modules in %.1f CPU seconds", len(MODULES), spent)
    return spent
