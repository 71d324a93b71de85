"""What a gate found, and how it says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from nocturne.gates.checks import Check

_NAMED = 3  # batches that a line names; one cause often damages many


@dataclass(frozen=True)
class Finding:
    """A check that a batch failed: what was observed, and where the first failing rows stand (file:line, never their values)."""

    dataset: str
    batch: str
    received_on: date
    check: Check
    observed: str
    samples: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For people."""
        rows = f"; rows {', '.join(self.samples)}" if self.samples else ""
        return f"batch {self.batch} (received {self.received_on}): {self.observed}{rows}"


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
