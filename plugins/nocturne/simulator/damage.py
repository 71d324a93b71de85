"""How a delivery of plays goes wrong: rows that come twice, come again corrected, or cannot be taken at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from nocturne.simulator.columns import plain
from nocturne.simulator.listening import Block, numbers
from nocturne.simulator.parameters import Damage
from nocturne.simulator.randomness import Ints, dice

Flaw = Literal["unreadable_instant", "unparsable_line", "negative_duration", "missing_listener", "missing_track", "missing_id"]
FLAWS: tuple[Flaw, ...] = ("unreadable_instant", "unparsable_line", "negative_duration", "missing_listener", "missing_track", "missing_id")
IN_TEXT_ONLY: frozenset[Flaw] = frozenset({"unreadable_instant", "unparsable_line"})
"""Flaws that a typed format (Parquet, a page of JSON) cannot carry: there the instant is missing instead."""
_BROKEN = 3
_EMPTIED: Mapping[Flaw, str] = {"missing_listener": "listener_id", "missing_track": "track_id", "missing_id": "play_id"}


@dataclass(frozen=True)
class Draw:
    """Which plays of a block something happens to, as row numbers."""

    twice: Ints  # stand a second time in the same delivery
    again: Ints  # come again, unchanged, with the next delivery
    corrected: Ints  # come again with the next delivery, with another duration
    broken: Mapping[Flaw, Ints]  # are the pattern of a row that is broken


def draw(damage: Damage, seed: int, day: int, rows: int) -> Draw:
    """What happens to the `rows` plays of a received day; rows that come again, corrected or not, are different ones."""
    generator = dice(seed, "damage", day)
    if rows == 0:
        nothing = np.empty(0, np.int64)
        return Draw(nothing, nothing, nothing, dict.fromkeys(FLAWS, nothing))
    again, corrected = (int(generator.poisson(rows * share)) for share in (damage.repeated, damage.corrected))
    twice = np.sort(generator.integers(0, rows, int(generator.poisson(rows * damage.repeated))))
    later = np.unique(generator.integers(0, rows, min(again + corrected, rows)))
    is_corrected = np.arange(len(later)) % max(1, again + corrected) < corrected
    flaws = generator.integers(0, len(FLAWS), int(generator.poisson(rows * damage.broken)))
    broken = {flaw: generator.integers(0, rows, int((flaws == n).sum())) for n, flaw in enumerate(FLAWS)}
    return Draw(twice, later[~is_corrected], later[is_corrected], broken)


def corrections(block: Block) -> Block:
    """The same plays with the duration that turned out to be right: a second more."""
    return replace(block, ms_played=block.ms_played + 1_000)


def renumbered(block: Block, day: int, flaw: Flaw) -> Block:
    """Copies under identifiers of their own, so that a broken row never stands for one that is whole."""
    return replace(block, number=numbers(_BROKEN, day, len(block), at=FLAWS.index(flaw) << 32))


def broken(rows: pa.Table, flaw: Flaw) -> pa.Table:
    """These plays with the flaw, as far as typed columns can show it: an instant that cannot be read is NULL, a cut line is whole."""
    rows = plain("plays", rows)
    if flaw == "negative_duration":
        return _with(rows, "ms_played", pa.array(-1 - np.arange(len(rows), dtype=np.int64)))
    column = _EMPTIED.get(flaw, "played_at" if flaw == "unreadable_instant" else None)
    return rows if column is None else _with(rows, column, pa.nulls(len(rows), rows.schema.field(column).type))


def _with(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    at = rows.schema.get_field_index(column)
    return rows.set_column(at, rows.schema.field(at), values)
