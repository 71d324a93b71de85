"""What is measured of whole batches: one row of MEASURES a batch, from counts and from the source's own history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from nocturne.datasets import Dataset
from nocturne.gates.history import SMALL, Past, usual_fill, usual_rows
from nocturne.gates.suites import MEASURES
from nocturne.lake import BATCH, Connection, Table, name
from nocturne.ledger import Mark

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Batch:
    """A batch that bronze has loaded: `rows` are those it kept, `left_out` those that the source's condition leaves out."""

    id: str
    received_on: date
    rows: int
    left_out: int
    fingerprint: str

    @property
    def source(self) -> str:
        """The source that delivered it."""
        return self.id.rpartition("/")[0]

    @classmethod
    def of(cls, part: str, mark: Mark) -> Batch:
        """The batch that bronze's mark of `part` speaks of."""
        facts: Mapping[str, Any] = mark.facts
        left_out = int(facts.get("left_out", 0))
        return cls(part, date.fromisoformat(str(facts["received_on"])), int(facts["rows"]) - left_out, left_out, mark.fingerprint)


@dataclass(frozen=True)
class Counts:
    """Rows of a batch as the lake holds them, and how many of them have a value, by column."""

    rows: int
    filled: Mapping[str, int]

    @property
    def shares(self) -> dict[str, float]:
        """The share of rows with a value, of the columns that have any."""
        return {column: round(count / self.rows, 4) for column, count in self.filled.items() if count}


def count(connection: Connection, bronze: Table, dataset: Dataset, batches: Sequence[Batch]) -> dict[str, Counts]:
    """The counts of each batch that has rows, in one pass over the columns."""
    columns = [column.name for column in dataset.columns]
    rows = bronze.scan(BATCH, *columns, parts=[batch.id for batch in batches])
    found = connection.execute(
        f"SELECT {BATCH}, count(*), {', '.join(f'count({name(column)})' for column in columns)} FROM {rows} GROUP BY {BATCH}"
    ).fetchall()
    return {batch: Counts(total, dict(zip(columns, values, strict=True))) for batch, total, *values in found}


@dataclass(frozen=True)
class Measured:
    """The measures of one batch by name (None: unknown, and so not asked), and a note for people on some of them."""

    values: Mapping[str, float | None]
    notes: Mapping[str, str]

    def observed(self, measure: str) -> str:
        """What a finding says of a measure."""
        note = self.notes.get(measure)
        value = self.values[measure]
        return f"{measure} is {'unknown' if value is None else format(value, '.4g')}{f' ({note})' if note else ''}"


def measure(
    batch: Batch,
    counts: Counts,
    earlier: Sequence[Batch],
    filled: Sequence[Mapping[str, float]],
    *,
    required: Sequence[str],
    is_daily: bool,
    may_be_empty: bool,
) -> Measured:
    """Measure one batch beside the `earlier` ones of its source and the shares of `filled` columns that those had."""
    usual = usual_rows([Past(one.received_on, one.rows) for one in earlier], batch.received_on, is_daily=is_daily)
    ratio = usual.ratio(batch.rows) if usual else None
    empty = [column for column in required if batch.rows and not counts.filled.get(column)]
    drop, dropped = _largest_drop(counts, filled)
    values = {
        # An empty delivery is ordinary only as long as the history does not speak against it.
        "rows": None if may_be_empty and ratio is None and not batch.rows else batch.rows,
        "rows_lost": batch.rows - counts.rows,
        "rows_to_usual": ratio,
        "state_to_usual": None if is_daily else ratio,
        "rows_deviation": usual.deviation(batch.rows) if usual else None,
        "empty_required_count": len(empty),
        "fill_drop": drop,
    }
    volume = f"{batch.rows} rows, usual are {usual.rows:.0f}" if usual else ""
    notes = dict.fromkeys(("rows_to_usual", "state_to_usual", "rows_deviation"), volume)
    notes |= {"empty_required_count": ", ".join(empty), "fill_drop": dropped}
    notes["rows"] = f"{batch.left_out} were left out by the source's condition" if batch.left_out else ""
    return Measured(values, notes)


def frame(measured: Sequence[Measured]) -> pd.DataFrame:
    """One row a batch, one column a measure."""
    import pandas as pd

    return pd.DataFrame([one.values for one in measured], columns=list(MEASURES), dtype="float64")


def _largest_drop(counts: Counts, past: Sequence[Mapping[str, float]]) -> tuple[float | None, str]:
    """How far the share of filled rows of a column fell below its usual share, beyond chance; and the column. None: not enough is known."""
    if counts.rows < SMALL:
        return None, ""
    drops: dict[str, float] = {}
    for column, filled in counts.filled.items():
        usual = usual_fill([shares.get(column, 0.0) for shares in past])
        if usual is not None:
            chance = 3 * (usual * (1 - usual) / counts.rows) ** 0.5
            drops[column] = usual - filled / counts.rows - chance
    worst = max(drops, key=lambda column: drops[column], default="")
    return (drops[worst], worst) if worst else (None, "")
