"""Suites with what a tenant's file says of them: checks added, thresholds moved, checks muted until a day.

A check that guards reconciliation or isolation (`guards` in its suite; the sums of the gate itself are no checks) stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from nocturne.adjusting import Adjustments, Named
from nocturne.datasets import DATASETS, Type
from nocturne.errors import TenantError
from nocturne.gates.checks import Check, faults
from nocturne.gates.suites import MEASURES, MartSuite, Suite, load_batch_checks, load_mart_suites, load_suite, row_columns
from nocturne.settings import Settings
from nocturne.tenants import Tenant, line_of

MARTS: Final = "marts."
"""Before a mart's name in a tenant's file."""
_NOTHING: Final = Adjustments()


def of_dataset(tenant: Tenant, settings: Settings, suite: Suite, batches: Sequence[Check]) -> tuple[Suite, tuple[Check, ...]]:
    """A dataset's suite and the checks of its batches, as they are for a tenant. Raises TenantError with file and line."""
    said = tenant.checks.get(suite.dataset, _NOTHING)
    own = _Adjusting(tenant, settings, suite.dataset, said, row_columns(suite.dataset), (*suite.rows, *batches)).checks()
    of_batches = tuple(check for check in own if set(check.columns) <= MEASURES.keys())
    return replace(suite, rows=tuple(check for check in own if check not in of_batches)), of_batches


def of_mart(tenant: Tenant, settings: Settings, suite: MartSuite) -> MartSuite:
    """A mart's suite as it is for a tenant. Raises TenantError with file and line."""
    said = tenant.checks.get(f"{MARTS}{suite.mart}", _NOTHING)
    columns = {**suite.columns, **dict.fromkeys(suite.derive, Type.NUMBER)}
    return replace(suite, rows=_Adjusting(tenant, settings, f"{MARTS}{suite.mart}", said, columns, suite.rows).checks())


def check_adjustments(tenant: Tenant, settings: Settings) -> None:
    """Try everything that a tenant's file says of checks. Reads the suites; raises TenantError with file and line."""
    models = {path.stem for path in (settings.dbt_project / "models" / "marts").rglob("*.sql")}
    suites = {f"{MARTS}{suite.mart}": suite for suite in load_mart_suites(settings.expectations, models)}
    for name in tenant.checks:
        if name in suites:
            of_mart(tenant, settings, suites[name])
        elif name in DATASETS and tenant.has(name):
            of_dataset(tenant, settings, load_suite(settings.expectations, name), load_batch_checks(settings.expectations))
        else:
            known = [*(dataset.name for dataset in tenant.datasets), *suites]
            raise _wrong(tenant, settings, ("checks", name), f"there is nothing of that name to check; there are {', '.join(known)}")


class _Adjusting:
    """The checks of one table, and what a tenant's file says of them."""

    def __init__(
        self,
        tenant: Tenant,
        settings: Settings,
        table: str,
        said: Adjustments,
        columns: Mapping[str, Type],
        checks: Sequence[Check],
    ) -> None:
        self.tenant = tenant
        self.settings = settings
        self.table = table
        self.said = said
        self.columns = columns
        self.known = list(checks)

    def checks(self) -> tuple[Check, ...]:
        """The checks as they are for the tenant, its own last."""
        for number, change in enumerate(self.said.change):
            place = self._find(change, "change", number)
            check = self.known[place]
            if moved := sorted(set(change.set) & set(check.kind.columns)):
                self._refuse("change", number, [f"{', '.join(moved)} says what is asked, which is another check: add that one"])
            changed = replace(check, kwargs={**check.kwargs, **change.set}, severity=change.becomes or check.severity, reason=change.reason)
            self._refuse("change", number, faults(changed.type, changed.kwargs, {**self.columns, **MEASURES}))
            self.known[place] = changed
        for number, mute in enumerate(self.said.mute):
            place = self._find(mute, "mute", number)
            self.known[place] = replace(self.known[place], muted_until=mute.until, reason=mute.reason)
        for number, one in enumerate(self.said.add):
            self._refuse("add", number, faults(one.type, one.kwargs, self.columns))
            self.known.append(Check(one.type, one.kwargs, one.severity, one.why, self._place("add", number)))
        return tuple(self.known)

    def _find(self, named: Named, kind: str, number: int) -> int:
        """The place of the one check that is named."""
        alike = [
            place
            for place, check in enumerate(self.known)
            if (check.type, check.columns) == (named.check, named.columns) and named.severity in (None, check.severity)
        ]
        if len(alike) == 1:
            if guards := self.known[alike[0]].guards:
                self._refuse(kind, number, [f"{named.check} of {', '.join(named.columns)} guards {guards}: no tenant's file touches it"])
            return alike[0]
        if alike:
            self._refuse(kind, number, [f"{len(alike)} checks are alike; say with `severity` which of them is meant"])
        there = sorted({f"{check.type} of {', '.join(check.columns)}" for check in self.known if set(check.columns) & set(named.columns)})
        more = f"; of these columns there are {'; '.join(there)}" if there else ""
        raise self._wrong(kind, number, f"{self.table} has no check {named.check} of {', '.join(named.columns)}{more}")

    def _refuse(self, kind: str, number: int, wrong: Sequence[str]) -> None:
        if wrong:
            raise self._wrong(kind, number, "; ".join(wrong))

    def _wrong(self, kind: str, number: int, what: str) -> TenantError:
        return _wrong(self.tenant, self.settings, ("checks", self.table, kind, number), what)

    def _place(self, kind: str, number: int) -> str:
        path = self.settings.tenants / f"{self.tenant.slug}.yml"
        return f"{path.name}:{line_of(path, ('checks', self.table, kind, number))}"


def _wrong(tenant: Tenant, settings: Settings, where: tuple[Any, ...], what: str) -> TenantError:
    path = settings.tenants / f"{tenant.slug}.yml"
    return TenantError(
        f"{path}:{line_of(path, where)}: {'.'.join(map(str, where))}: {what}.",
        next_step="Correct these lines; `nocturne tenants check` checks them.",
        tenant=tenant.slug,
    )
