"""Station: a delivery that was wrong is taken back, and the one before it, or none, stands instead; and what is kept for that is trimmed.

The lake, the marts and the reports follow by themselves: the next night loads the batches that changed and rebuilds the dates that they
touch, as it does when a source corrects what it delivered.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final
from typing import Literal as OneOf

from nocturne.datasets import DATASETS
from nocturne.errors import PermanentError
from nocturne.landing.batches import Shelf, Staged, alone, in_turn
from nocturne.landing.drawers import Action, Delivery, Drawer, Step, drawers, link
from nocturne.ledger import Marks, utc_now
from nocturne.manifests import Manifest
from nocturne.reasons import checked_reason
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Source, Tenant

_RESTORING: Final = "restoring"

State = OneOf["stands", "replaced", "taken back"]


@dataclass(frozen=True)
class Listed:
    """A delivery of a source for a day; without a `number`, nothing ever took its place. `is_kept`: it can be brought again."""

    day: date
    number: int | None
    manifest: Manifest
    state: State
    kept_until: date | None
    is_kept: bool
    step: Step | None


def steer_deliveries(
    tenant: Tenant,
    day: date,
    settings: Settings,
    ledger: Marks,
    *,
    source: str,
    of: date,
    action: Action = "restore",
    number: int | None = None,
    reason: str = "",
    asked: str,
    by: str,
) -> Receipt:
    """Take back what `source` delivered for the day `of`, so that an earlier delivery, or none, stands in landing.

    restore     the delivery `number` stands; None: the last of those that the source itself replaced; where none stands, the last of all
    withdraw    none stands; of a source that grows (a topic, a watermark) an empty one, so that the next night goes on behind it

    Reads and writes landing; what stood is kept and can be restored in its turn. `asked` names the request: run again with the same one, or
    after a kill, it takes that step to its end and no other. What was taken back is not taken from the source again until somebody
    restores it; but a source that is asked for its last value once more tells of that beside new rows. Raises PermanentError without a
    reason, or if there is no such delivery, or its files are gone; LeaseHeld.
    """
    started = utc_now()
    shelf = Shelf(settings, tenant, _declared(tenant, source))
    with alone(settings, tenant, source) as around:
        drawer, standing = shelf.drawer(of), shelf.manifest(of)
        step = next((one for one in drawer.steps() if one.asked == asked), None)
        is_new = step is None
        if step is None:
            target = _target(drawer, standing, number) if action == "restore" else None
            why = checked_reason(reason, to=action, next_step="Say why: whoever finds it reads it.", tenant=tenant.slug, day=of)
            _refuse(drawer, standing, target)
            away = drawer.keep(standing).number if standing and standing.files else None
            step = Step(action=action, away=away, to=target.number if target else None, reason=why, by=by, asked=asked, at=utc_now())
            drawer.note(step)
        if step == drawer.steps()[-1]:  # after a later one, it was taken long ago
            _take(shelf, drawer, step, around / _RESTORING)
    now = shelf.manifest(of)
    entry = Entry(
        name=source,
        skipped=not is_new,
        counts={"files": len(now.files) if now else 0, "bytes": now.bytes if now else 0},
        facts={"action": step.action, "of": of.isoformat(), "away": step.away, "to": step.to, "reason": step.reason, "by": step.by},
    )
    return Receipt(
        tenant=tenant.slug, day=day, station="steer_deliveries", started_at=started, finished_at=utc_now(), entries=(entry,)
    )  # fmt: skip


def list_deliveries(tenant: Tenant, settings: Settings, source: str, of: date | None = None) -> list[Listed]:
    """What `source` delivered, for one day or all, the newest first: what stands, and what something took the place of. Reads landing."""
    shelf = Shelf(settings, tenant, _declared(tenant, source))
    kept = {drawer.day for drawer in drawers(settings, tenant, shelf.source.dataset, source)}
    days = sorted({*shelf.days(), *kept}, reverse=True) if of is None else [of]
    return [listed for a_day in days for listed in _listed(shelf, a_day)]


def trim_deliveries(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Remove the files of deliveries whose place was taken more than `keep_days` before `day`.

    Their contents stay known, so what was taken back stays refused. Run again, or after a kill, it does what is left. A source that is
    being taken from waits for the next run.
    """
    started = utc_now()
    first, found = day - timedelta(days=settings.keep_days), defaultdict(list)
    for drawer in (one for dataset in DATASETS for one in drawers(settings, tenant, dataset)):
        found[drawer.source].append(drawer)

    def trim(source: str, _: Path) -> Iterator[Entry]:
        for drawer in found[source]:
            old = [one.number for one in drawer.deliveries() if one.kept_at.date() < first and drawer.has_files(one.number)]
            if old:
                size = sum(map(drawer.forget_files, old))
                yield Entry(name=f"{source}/{drawer.day}", counts={"removed": len(old), "bytes": size})

    entries, warnings = in_turn(settings, tenant, found, trim, left="The next run removes what is no longer kept.")
    return Receipt(
        tenant=tenant.slug, day=day, station="trim_deliveries", started_at=started, finished_at=utc_now(),
        entries=entries, warnings=warnings,
    )  # fmt: skip


def _declared(tenant: Tenant, source: str) -> Source:
    found = next((one for one in tenant.sources if one.name == source), None)
    if found is None:
        names = ", ".join(one.name for one in tenant.sources)
        raise PermanentError(f"The tenant has no source {source!r}.", next_step=f"Choose one of {names}.", tenant=tenant.slug)
    return found


def _target(drawer: Drawer, standing: Manifest | None, number: int | None) -> Delivery:
    """The delivery that is to stand."""
    deliveries = drawer.deliveries()
    others = [one for one in deliveries if standing is None or one.manifest.contents != standing.contents]
    if number is not None:
        found = next((one for one in deliveries if one.number == number), None)
    else:
        # What somebody took back comes again by its number alone, so a command that is given twice does not bring it.
        taken_back = drawer.refused() if standing and standing.files else {}
        left = (one for one in others if drawer.has_files(one.number) and one.number not in taken_back)
        found = max(left, key=lambda one: one.kept_at, default=None)
    if found is None:
        what = "no other delivery is kept" if number is None else f"there is no delivery {number}"
        raise _wrong(
            drawer, f"Of source {drawer.source} for {drawer.day} {what}", "See `nocturne deliveries list`, or withdraw what stands."
        )
    if found not in others:
        raise _wrong(drawer, f"Delivery {number} of source {drawer.source} for {drawer.day} stands already", "Nothing.")
    if not drawer.has_files(found.number):
        what = f"The files of delivery {found.number} of source {drawer.source} for {drawer.day} are no longer kept"
        raise _wrong(drawer, what, "Have the source deliver it again, or withdraw what stands.")
    return found


def _refuse(drawer: Drawer, standing: Manifest | None, target: Delivery | None) -> None:
    """Raise PermanentError if nothing would change, or if what lies between the nights of a source that grows would be lost."""
    what = f"source {drawer.source} for {drawer.day}"
    if target is None and (standing is None or not standing.files):
        raise _wrong(drawer, f"Nothing of {what} stands that could be withdrawn", "Nothing.")
    if target and standing and target.manifest.ranges != standing.ranges:
        raise _wrong(
            drawer,
            f"Delivery {target.number} of {what} ends elsewhere than the one that stands, where the nights after it begin",
            "Withdraw what stands, or keep it.",
        )


def _take(shelf: Shelf, drawer: Drawer, step: Step, around: Path) -> None:
    """Let stand what the step says. Run again after a kill, it leaves the same."""
    standing = shelf.manifest(drawer.day)
    target = next((one for one in drawer.deliveries() if one.number == step.to), None)
    if target is None:
        if standing and standing.ranges:
            shelf.put(drawer.day, [], ranges=standing.ranges)
        else:
            shelf.withdraw(drawer.day)
        return
    if standing and standing.contents == target.manifest.contents:
        shelf.sweep(standing)
        return
    shutil.rmtree(around, ignore_errors=True)
    around.mkdir()
    kept = [file for file in standing.files if file.content in target.manifest.contents] if standing else []
    have = {file.content for file in kept}
    fresh = []
    for file in target.manifest.files:
        if file.content not in have:
            link(drawer.files(target.number) / file.name, around / file.name)
            fresh.append(Staged(around / file.name, file.name, file.origin, file.bytes, file.sha256, file.rows, stood=True))
    shelf.put(drawer.day, fresh, kept, ranges=target.manifest.ranges)
    shutil.rmtree(around)


def _listed(shelf: Shelf, day: date) -> Sequence[Listed]:
    drawer, standing = shelf.drawer(day), shelf.manifest(day)
    refused, steps = drawer.refused(), drawer.steps()
    known = {one.manifest.contents: one for one in drawer.deliveries()}
    found = []
    if standing:
        mine = known.pop(standing.contents, None)
        brought = next((one for one in reversed(steps) if mine and one.to == mine.number), None)
        found.append(Listed(day, mine.number if mine else None, standing, "stands", None, True, brought))
    for one in sorted(known.values(), key=lambda one: one.kept_at, reverse=True):
        until = (one.kept_at + timedelta(days=shelf.settings.keep_days)).date()
        state: State = "taken back" if one.number in refused else "replaced"
        found.append(Listed(day, one.number, one.manifest, state, until, drawer.has_files(one.number), refused.get(one.number)))
    return found


def _wrong(drawer: Drawer, what: str, next_step: str) -> PermanentError:
    return PermanentError(f"{what}.", next_step=next_step, tenant=drawer.tenant.slug, day=drawer.day)
