"""What a person sees: live progress on a terminal, plain lines elsewhere, and the closing table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nocturne.installation.nightly import Outcome, Step, TenantNight

_MARKS = {
    "success": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "upstream_failed": ("✗", "red"),
    "running": ("●", "bold cyan"),
    "skipped": ("–", "dim"),
    "up_for_retry": ("↻", "yellow"),
    "up_for_reschedule": ("…", "yellow"),
}


class Display:
    """Progress of a command. On a terminal the runs are one live picture; elsewhere each change is one line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _console()
        self.started = time.monotonic()
        self._live: Live | None = None
        self._nights: Sequence[TenantNight] = ()

    def say(self, text: str, style: str = "") -> None:
        """One line, with the seconds since the start."""
        line = Text(f"{time.monotonic() - self.started:6.1f} s  ", style="dim")
        line.append(text, style=style)
        self.console.print(line)

    @contextmanager
    def phase(self, text: str) -> Iterator[None]:
        """Say what begins, and how long it took if that was noticeable."""
        started = time.monotonic()
        self.say(text)
        yield
        if time.monotonic() - started > 5:
            self.say(f"{text}: {time.monotonic() - started:.0f} s", style="dim")

    def change(self, tenant: str, what: str, state: str) -> None:
        """A task or a run has changed its state."""
        if self._live is None:
            self.say(f"{tenant:<20} {what}: {state}")

    @contextmanager
    def following(self, nights: Sequence[TenantNight]) -> Iterator[None]:
        """Show the nights live while the block runs, where there is a terminal."""
        if not self.console.is_terminal:
            yield
            return
        self._nights = nights
        with Live(console=self.console, refresh_per_second=4, get_renderable=self._picture) as self._live:
            try:
                yield
            finally:
                self._live.refresh()
        self._live = None

    def _picture(self) -> Table:
        table = Table(box=None, padding=(0, 2), title=f"{time.monotonic() - self.started:.0f} s", title_justify="left", title_style="dim")
        for name in ("tenant", "run", "day", "tasks"):
            table.add_column(name, style="bold" if name == "tenant" else "")
        for night in self._nights:
            for number, step in enumerate(night.steps):
                table.add_row(night.tenant.slug if number == 0 else "", step.kind, str(step.day), _tasks(step))
        return table


def _console() -> Console:
    """A terminal has its own width; in a file or a pipe no table is cut."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=160)


def _tasks(step: Step) -> Text:
    text = Text()
    for state in step.tasks.values():
        mark, style = _MARKS.get(state, ("·", "dim"))
        text.append(mark, style=style)
    running = [name for name, state in step.tasks.items() if state not in {"success", "skipped", "none", "scheduled", "queued"}]
    if running:
        text.append("  " + ", ".join(running), style="bold")
    elif step.state in {"waiting", "success", "failed"}:
        text.append(f"  {step.state}", style="dim")
    return text


def closing(console: Console, outcomes: Sequence[Outcome], facts: Path, seconds: float) -> None:
    """The closing tables: rows by tenant and dataset, then gates, marts, models, reports and what failed."""
    console.print()
    console.print(Group(_rows(outcomes), _results(outcomes)))
    for outcome in outcomes:
        for warning in outcome.warnings[:8]:
            console.print(Text.assemble(("  note ", "yellow"), f"{outcome.tenant}: {warning}"))
        if len(outcome.warnings) > 8:
            console.print(f"  [yellow]note[/] {outcome.tenant}: {len(outcome.warnings) - 8} more in {facts}")
        for task, message in outcome.failures.items():
            console.print(Text.assemble(("  failed ", "bold red"), f"{outcome.tenant} at {task}: {message}"))
    console.print()
    for outcome in outcomes:
        for report in outcome.reports:
            console.print(f"  open  {report}")
    good = all(outcome.state == "success" for outcome in outcomes)
    console.print(f"\n{'All nights are done' if good else 'A night failed'} after {seconds:.0f} s. The same facts stand in {facts}.")


def _rows(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="Rows in the lake", title_justify="left")
    for name in ("tenant", "dataset"):
        table.add_column(name)
    for name in ("landed", "left out", "kept", "duplicates", "quarantined"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        first = True
        for dataset, counts in outcome.datasets.items():
            numbers = [f"{counts[key]:,}" if counts[key] else "–" for key in ("landed", "left_out", "kept", "duplicates", "quarantined")]
            table.add_row(outcome.tenant if first else "", dataset, *numbers)
            first = False
        table.add_section()
    return table


def _results(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="Nights", title_justify="left")
    for name in ("tenant", "day", "state", "gates", "marts", "models", "reports", "seconds"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for outcome in outcomes:
        table.add_row(
            outcome.tenant,
            str(outcome.day),
            Text(outcome.state, style="green" if outcome.state == "success" else "bold red"),
            "\n".join(f"{name.removeprefix('gate_')} {state}" for name, state in outcome.gates.items()) or "–",
            f"{len(outcome.marts)} published" if outcome.marts else "–",
            "\n".join(_model(name, facts) for name, facts in outcome.models.items()) or "–",
            f"{len(outcome.reports)} to open" if outcome.reports else "–",
            f"{outcome.seconds:.0f}",
        )
    return table


def _model(name: str, facts: object) -> str:
    if not isinstance(facts, dict) or "metric" not in facts:
        reason = facts.get("reason") if isinstance(facts, dict) else None
        return f"{name}: {reason or 'no champion'}"
    return f"{name} v{facts.get('version')}: {facts['metric']} {facts.get('value', 0):.3f} (naive {facts.get('baseline', 0):.3f})"
