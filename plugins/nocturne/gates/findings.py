"""What a gate found, and how it says so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from nocturne.gates.checks import Check
from nocturne.quality import Outcome, Result

_ADDRESS = re.compile(r"[^\s@\"',;]+@[^\s@\"',;]+")
_LONGEST = 80  # characters of a value that is shown
_NAMED = 3  # batches that a line names; one cause often damages many


@dataclass(frozen=True)
class Finding:
    """A check that a batch failed: what was observed, and where the first failing rows stand (file:line, never their values).

    `extract` tells beside it what the check read there, for the quality pages alone: no message, alert or receipt holds a value.
    """

    dataset: str
    batch: str
    received_on: date
    check: Check
    observed: str
    samples: tuple[str, ...] = ()
    extract: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For people."""
        rows = f"; rows {', '.join(self.samples)}" if self.samples else ""
        return f"batch {self.batch} (received {self.received_on}): {self.observed}{rows}"


def result_of(check: Check, asked: int, failing: int, found: Finding | None, *, on: date) -> Result:
    """What is kept of a check that was asked of `asked` rows or measures, of which `failing` failed; `found` if that is too many."""
    observed, samples, extract = (found.observed, found.samples, found.extract) if found else ("", (), ())
    outcome: Outcome = "failed" if found else "passed" if asked else "unknown"
    if found and check.is_muted(on):
        outcome, observed = "muted", f"{observed}; muted until {check.muted_until}: {check.reason}"
    return Result(check.told, check.place, check.severity, outcome, check.why, asked, failing, observed, samples, extract)


def shown(value: object) -> str:
    """A value as the quality pages show it: without addresses, and cut."""
    text = _ADDRESS.sub("(not shown)", "nothing" if value is None else str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def told(findings: Iterable[Finding], severity: str) -> list[str]:
    """One line for each check of this severity that failed, with the batches that failed it."""
    by_check: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.check.severity == severity:
            by_check.setdefault((finding.dataset, finding.check.place), []).append(finding)
    return [_line(group) for group in by_check.values()]


def _line(group: list[Finding]) -> str:
    first = group[0]
    named = "; ".join(map(str, group[:_NAMED]))
    more = f"; and {len(group) - _NAMED} more batches, the last {group[-1].batch}" if len(group) > _NAMED else ""
    return f"{first.dataset}, {first.check} [{first.check.place}]: {named}{more}. {first.check.why}"
