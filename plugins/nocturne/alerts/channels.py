"""Where alerts go. The first channel is a log file a tenant, for people and for whatever ships logs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from nocturne.alerts.messages import Alert


@dataclass(frozen=True)
class LogFile:
    """A file of JSON lines, one alert a line: at, tenant, day, alert, severity, tasks, message."""

    path: Path

    def delivered(self, day: date) -> frozenset[str]:
        """The keys of the day's alerts that stand in the file. A line that a crash cut off was not delivered."""
        if not self.path.exists():
            return frozenset()
        found = set()
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    written = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if written["day"] == day.isoformat():
                    found.add(written["alert"])
        return frozenset(found)

    def deliver(self, slug: str, day: date, alert: Alert) -> None:
        """Append an alert, in one write that is on disk when this returns."""
        fields = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "tenant": slug,
            "day": day.isoformat(),
            "alert": alert.key,
            "severity": alert.severity,
            "tasks": alert.tasks,
            "message": alert.message,
        }
        line = json.dumps(fields, ensure_ascii=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell() and self._is_cut_off():
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _is_cut_off(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
