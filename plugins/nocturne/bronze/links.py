"""Keys that stand at several event dates: the same key delivered again with another instant touches both dates.

A *link* says that a batch holds, at one date, a key that a batch (another one or itself) holds at another date. Links stand in bronze's
marks on both sides, so that silver knows from the marks alone which rows decide a date. They are a pure function of what bronze holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nocturne.keys import files_that_may_hold, keep_keys
from nocturne.lake import BATCH, Connection, Table
from nocturne.ledger import Mark

LINKS = "links"
_BUCKET_ROWS = 8_000_000

Link = tuple[str, str, str, str]
"""(batch, its date, other batch, the other's date)."""


def find_links(connection: Connection, bronze: Table, batches: Iterable[str], rows: int) -> list[Link]:
    """The links between these batches (of `rows` rows) and all batches, seen from these.

    Keeps the keys of these, and reads those of all batches that may hold one of them (all others, if these have many) and the dates of
    those that share one; a bucket of the keys at a time, so that memory follows neither.
    """
    ours_alone = set(batches)
    columns = (BATCH, "_key", "_event_on", "_received_on")
    night = bronze.scan(*columns, parts=ours_alone)
    files = bronze.files()
    keep_keys(connection, bronze, [file for file in files if file.part in ours_alone])
    others = files_that_may_hold(connection, bronze, night, [file for file in files if file.part not in ours_alone])
    buckets = max(1, -(-rows // _BUCKET_ROWS))
    found: list[Link] = []
    for bucket in range(buckets):
        here = f"_key % {buckets} = {bucket}"
        sharing = connection.execute(
            f"SELECT DISTINCT {BATCH} FROM {bronze.rows_of(others)} WHERE _key IN (SELECT _key FROM {night} WHERE {here})"
        ).fetchall()
        all_rows = bronze.scan(*columns, parts=[*ours_alone, *(batch for (batch,) in sharing)])
        usable = f"_event_on <= _received_on + 1 AND {here}"
        among = f"{usable} AND _key IN (SELECT _key FROM {night} WHERE {here})" if sharing else usable
        # Few keys stand at several dates, and to find them takes less than half of what it takes to let all of them meet.
        several = f"SELECT _key FROM {all_rows} WHERE {among} GROUP BY _key HAVING min(_event_on) <> max(_event_on)"
        meeting = f"{usable} AND _key IN (FROM several)"
        # Distinct: a key that a broken delivery repeats a million times must not meet itself a million times a million times.
        ours = f"(SELECT DISTINCT {BATCH}, _key, _event_on FROM {night} WHERE {meeting})"
        theirs = f"(SELECT {BATCH}, _key, _event_on FROM {all_rows} WHERE {meeting})"
        found += connection.execute(
            f"WITH several AS MATERIALIZED ({several})"
            f" SELECT DISTINCT ours.{BATCH}, ours._event_on::VARCHAR, theirs.{BATCH}, theirs._event_on::VARCHAR"
            f" FROM {theirs} AS theirs JOIN {ours} AS ours ON theirs._key = ours._key AND theirs._event_on <> ours._event_on"
        ).fetchall()
    return sorted(set(found))


def with_links(marks: Mapping[str, Mark], changed: Mapping[str, Mark], links: Iterable[Link]) -> dict[str, Mark]:
    """The marks to write: those `changed`, and those of other batches whose links to them are new or gone."""
    facts: dict[str, dict[str, set[tuple[str, str]]]] = {batch: {} for batch in changed}
    for batch, mark in marks.items():
        if batch not in changed and (kept := _links_of(mark)):
            facts[batch] = {other: pairs for other, pairs in kept.items() if other not in changed}
    for batch, here, other, there in links:
        facts[batch].setdefault(other, set()).add((here, there))
        facts.setdefault(other, {}).setdefault(batch, set()).add((there, here))
    all_marks = {**marks, **changed}
    linked = {batch: _with(all_marks[batch], pairs) for batch, pairs in facts.items() if batch in all_marks}
    return {batch: mark for batch, mark in linked.items() if marks.get(batch) != mark}


def without(marks: Mapping[str, Mark], gone: Iterable[str]) -> dict[str, Mark]:
    """The marks of the batches that stay, whose links to batches that are `gone` must go too."""
    lost = set(gone)
    changed = {}
    for batch, mark in marks.items():
        links = _links_of(mark)
        if batch not in lost and lost & set(links):
            changed[batch] = _with(mark, {other: pairs for other, pairs in links.items() if other not in lost})
    return changed


def _links_of(mark: Mark) -> dict[str, set[tuple[str, str]]]:
    given: Mapping[str, Any] = mark.facts.get(LINKS, {})
    return {other: {(here, there) for here, there in pairs} for other, pairs in given.items()}


def _with(mark: Mark, links: Mapping[str, set[tuple[str, str]]]) -> Mark:
    told = {other: [list(pair) for pair in sorted(pairs)] for other, pairs in sorted(links.items()) if pairs}
    return replace(mark, facts={**{fact: value for fact, value in mark.facts.items() if fact != LINKS}, **({LINKS: told} if told else {})})
