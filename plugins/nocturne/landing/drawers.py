"""The deliveries of one batch that stand no more: what each held, and who had them taken back or brought again.

    <lake>/<slug>/landing/<dataset>/.kept/received_on=<D>/<source>/
        <n>/delivery.json       the n-th delivery of that day and source that something took the place of: its manifest
        <n>/files/              its raw files, as they stood in the batch, until `trim_deliveries` removes them
        steps.json              what people had taken back and brought again, in the order of asking

A delivery is known by its contents: one that comes a second time keeps its number. What was taken back is refused from then on: landing
does not take it again, though the source goes on to offer it, until somebody restores it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final
from typing import Literal as OneOf

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter

from nocturne.manifests import Content, Manifest, batch_folder, landing_folder, write_whole
from nocturne.settings import Settings
from nocturne.tenants import Tenant

Action = OneOf["withdraw", "restore"]

_KEPT: Final = ".kept"
_DELIVERY: Final = "delivery.json"
_FILES: Final = "files"
_STEPS: Final = "steps.json"


class Delivery(BaseModel):
    """One that something took the place of, for the last time at `kept_at`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    manifest: Manifest
    kept_at: AwareDatetime


class Step(BaseModel):
    """What a person had done: the delivery `away` was taken back, and `to` stands instead (either may be none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    away: int | None
    to: int | None
    reason: str
    by: str
    asked: str
    at: AwareDatetime


_Steps: Final = TypeAdapter(tuple[Step, ...])


@dataclass(frozen=True)
class Refusal:
    """A delivery that was taken back: what it holds, and what was brought `instead`."""

    step: Step
    contents: frozenset[Content]
    instead: frozenset[Content]


@dataclass(frozen=True)
class Drawer:
    """The kept deliveries of one batch. Whoever writes holds the source alone."""

    settings: Settings
    tenant: Tenant
    dataset: str
    source: str
    day: date

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        landing = landing_folder(self.settings, self.tenant, self.dataset)
        return landing / _KEPT / self._batch.relative_to(landing)

    @property
    def _batch(self) -> Path:
        return batch_folder(self.settings, self.tenant, self.dataset, self.source, self.day)

    def deliveries(self) -> list[Delivery]:
        """All that were ever kept, by number; the files of some may be gone."""
        found = [Delivery.model_validate_json(path.read_bytes()) for path in self.folder.glob(f"*/{_DELIVERY}")]
        return sorted(found, key=lambda one: one.number)

    def files(self, number: int) -> Path:
        """Where the files of a delivery are."""
        return self.folder / str(number) / _FILES

    def has_files(self, number: int) -> bool:
        """Whether the delivery can be brought again."""
        return self.files(number).is_dir()

    def keep(self, standing: Manifest) -> Delivery:
        """Keep what stands, before something takes its place. Run again, or after a kill, it is kept once, under one number."""
        known = self.deliveries()
        kept = next((one for one in known if one.manifest.contents == standing.contents), None)
        number = kept.number if kept else max((one.number for one in known), default=0) + 1
        if not kept or not self.has_files(number):
            self._link(standing, number)
            kept = None
        told = Delivery(number=number, manifest=kept.manifest if kept else standing, kept_at=datetime.now(UTC))
        write_whole(self.folder / str(number) / _DELIVERY, f"{told.model_dump_json(indent=1)}\n".encode())
        return told

    def _link(self, standing: Manifest, number: int) -> None:
        """Give each file of the batch a second name here: that costs nothing, and the batch may lose its own at any time."""
        fresh = self.folder / str(number) / f".{_FILES}"
        for left in (fresh, self.files(number)):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir(parents=True)
        for file in standing.files:
            link(self._batch / file.name, fresh / file.name)
        fresh.replace(self.files(number))

    def forget_files(self, number: int) -> int:
        """Remove the files of a delivery, of which its contents stay known; the bytes that they took."""
        files = self.files(number)
        size = sum(path.stat().st_size for path in files.iterdir())
        gone = files.with_name(".gone")
        shutil.rmtree(gone, ignore_errors=True)
        files.replace(gone)
        shutil.rmtree(gone)
        return size

    def steps(self) -> tuple[Step, ...]:
        """What people had done, in the order of asking."""
        try:
            return _Steps.validate_json((self.folder / _STEPS).read_bytes())
        except FileNotFoundError:
            return ()

    def note(self, step: Step) -> None:
        """Note a step, before it is taken: whoever is killed on the way finds it and takes it to its end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / _STEPS, _Steps.dump_json((*self.steps(), step), indent=1) + b"\n")

    def refused(self) -> dict[int, Step]:
        """The deliveries that were taken back and not restored since, each with the step that did it."""
        refused: dict[int, Step] = {}
        for step in self.steps():
            if step.away is not None:
                refused[step.away] = step
            if step.to is not None:
                refused.pop(step.to, None)
        return refused

    def refusals(self) -> list[Refusal]:
        """The same, with what they hold."""
        if not (refused := self.refused()):
            return []
        contents = {one.number: one.manifest.contents for one in self.deliveries()}
        return [Refusal(step, contents[number], contents.get(step.to or 0, frozenset())) for number, step in refused.items()]


def drawers(settings: Settings, tenant: Tenant, dataset: str, source: str = "*") -> Iterator[Drawer]:
    """The drawers of a dataset's sources, or of one, by day."""
    folder = landing_folder(settings, tenant, dataset) / _KEPT
    for path in sorted(folder.glob(f"received_on=*/{source}")):
        yield Drawer(settings, tenant, dataset, path.name, date.fromisoformat(path.parent.name.partition("=")[2]))


def last_steps(settings: Settings, tenant: Tenant, dataset: str, source: str) -> dict[date, Step]:
    """The last step of each day of a source that has one."""
    return {drawer.day: steps[-1] for drawer in drawers(settings, tenant, dataset, source) if (steps := drawer.steps())}


def refusal_of(offered: frozenset[Content], drawers: Iterable[Drawer]) -> Step | None:
    """The step that took back a delivery of just these contents, if any did."""
    return next((one.step for drawer in drawers for one in drawer.refusals() if one.contents == offered), None)


def link(path: Path, name: Path) -> None:
    """Give a file a second name, or, where the storage has no such thing, make a copy."""
    try:
        os.link(path, name)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}:
            raise
        shutil.copy2(path, name)
