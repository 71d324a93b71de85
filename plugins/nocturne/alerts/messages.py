"""From failures and receipts to alerts: one for each cause, not for each task that met it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from nocturne.ledger import Recorded

_STATES = frozenset({"", "failed", "upstream_failed"})
_LONGEST = 4_000  # characters of a message; a gate may have much to say, a reader has not
_SHOWN = 5  # warnings of a station that a message quotes
_UNKNOWN = "The task ended without saying why: it was killed, or its worker was."


@dataclass(frozen=True)
class Alert:
    """What somebody must know. `key` tells alerts of one tenant and day apart; the same cause has the same key in every run."""

    key: str
    severity: Literal["stop", "warn"]
    message: str
    tasks: tuple[str, ...]


def alerts_of(slug: str, day: date, failures: Mapping[str, str], receipts: Mapping[str, Recorded]) -> tuple[Alert, ...]:
    """The alerts of a night: failures first, by cause, then warnings, by station; each in the alphabetical order of their tasks."""
    return (*_failures(slug, day, failures, receipts), *_warnings(slug, day, receipts))


def _failures(slug: str, day: date, failures: Mapping[str, str], receipts: Mapping[str, Recorded]) -> Iterable[Alert]:
    waiting = sorted(task for task, message in failures.items() if message == "upstream_failed")
    causes: dict[str, tuple[str, list[str]]] = {}
    for task in sorted(set(failures) - set(waiting)):
        cause = _cause(task, failures[task], receipts)
        causes.setdefault(_digest(cause), (cause, []))[1].append(task)
    if waiting and not causes:
        causes[_digest(_UNKNOWN)] = (_UNKNOWN, waiting)
        waiting = []
    for digest, (cause, tasks) in causes.items():
        what = f"Tenant {slug}, {day}: {', '.join(tasks)} failed. {cause}"
        if "Next:" not in cause:
            what += " Next: read the task's log, mend the cause and clear the task; what was done stays done."
        if waiting:
            what += f" Not run because of it: {', '.join(waiting)}."
        yield Alert(f"failed/{digest}", "stop", _cut(what), tuple(tasks))


def _warnings(slug: str, day: date, receipts: Mapping[str, Recorded]) -> Iterable[Alert]:
    for station, recorded in sorted(receipts.items()):
        warnings = recorded.receipt.warnings
        if not warnings:
            continue
        quoted = " ".join(f"({number}) {text}" for number, text in enumerate(warnings[:_SHOWN], start=1))
        more = f" And {len(warnings) - _SHOWN} more." if len(warnings) > _SHOWN else ""
        message = (
            f"Tenant {slug}, {day}: {station} went on with {len(warnings)} warning{'s' if len(warnings) > 1 else ''}. {quoted}{more}"
            " Next: look at what they name; nothing was stopped."
        )
        yield Alert(f"warnings/{station}/{_digest(*warnings)}", "warn", _cut(message), (station,))


def _cause(task: str, message: str, receipts: Mapping[str, Recorded]) -> str:
    """Why a task failed: the message it is given with, else its receipt's; without the tenant and day, which the alert names itself."""
    if message in _STATES:
        recorded = receipts.get(task)
        message = (recorded.error if recorded and recorded.outcome == "failed" else None) or _UNKNOWN
    return re.sub(r"^\[(tenant|day) [^\]]*\] ", "", message.strip())


def _digest(*texts: str) -> str:
    """The same for texts that differ in numbers alone (ports, seconds, row counts), so that one cause is one alert."""
    alike = "\n".join(re.sub(r"\d+", "#", text).lower() for text in texts)
    return hashlib.sha256(alike.encode()).hexdigest()[:12]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
