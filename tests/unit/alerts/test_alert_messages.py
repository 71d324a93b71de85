"""One alert for each cause, with tenant, day, task, cause and next step."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from nocturne.alerts.channels import LogFile
from nocturne.alerts.messages import Alert, alerts_of
from nocturne.errors import DatabaseUnavailable, GateFailed
from nocturne.ledger import Recorded
from nocturne.receipts import Receipt

DAY = date(2026, 3, 1)


def recorded(station: str, *, error: str | None = None, warnings: tuple[str, ...] = ()) -> Recorded:
    now = datetime(2026, 3, 2, 3, tzinfo=UTC)
    receipt = Receipt(tenant="t1", day=DAY, station=station, started_at=now, finished_at=now, warnings=warnings)
    return Recorded(receipt, "run", "failed" if error else "done", error, None)


def test_a_quiet_night_raises_nothing() -> None:
    assert alerts_of("t1", DAY, {}, {"land": recorded("land")}) == ()


def test_a_failure_names_tenant_day_task_cause_and_next_step() -> None:
    error = GateFailed("plays: 3 rows of 4 have no country.", next_step="Correct the delivery.", tenant="t1", day=DAY)
    (alert,) = alerts_of("t1", DAY, {"gate_bronze": str(error)}, {})
    assert alert.severity == "stop"
    assert alert.message == "Tenant t1, 2026-03-01: gate_bronze failed. plays: 3 rows of 4 have no country. Next: Correct the delivery."


def test_the_cause_of_a_bare_state_is_the_receipts() -> None:
    receipts = {"land": recorded("land", error="[tenant t1, day 2026-03-01] The source is gone. Next: Call its owner.")}
    (alert,) = alerts_of("t1", DAY, {"land": "failed", "load_bronze": "upstream_failed"}, receipts)
    assert "land failed. The source is gone. Next: Call its owner. Not run because of it: load_bronze." in alert.message


def test_the_cause_of_an_earlier_run_is_not_taken_for_this_ones() -> None:
    (alert,) = alerts_of("t1", DAY, {"land": "failed"}, {"land": recorded("land")})
    assert "ended without saying why" in alert.message
    assert "Next:" in alert.message


def test_many_failures_of_one_cause_are_one_message() -> None:
    def away(port: int) -> str:
        return str(DatabaseUnavailable(f"PostgreSQL at 127.0.0.1:{port} is away.", next_step="Start it."))

    failures = {f"task_{number}": away(5000 + number) for number in range(200)}
    (alert,) = alerts_of("t1", DAY, failures, {})
    assert alert.tasks == tuple(sorted(failures))


def test_different_causes_are_different_messages() -> None:
    alerts = alerts_of("t1", DAY, {"land": "The source is gone.", "predict": "No champion."}, {})
    assert [alert.tasks for alert in alerts] == [("land",), ("predict",)]
    assert alerts[0].key != alerts[1].key


def test_the_same_cause_has_the_same_key_on_another_run() -> None:
    (first,) = alerts_of("t1", DAY, {"land": "No answer after 31 s."}, {})
    (again,) = alerts_of("t1", DAY, {"land": "No answer after 12 s."}, {})
    assert first.key == again.key


def test_warnings_are_one_message_a_station() -> None:
    receipts = {
        "gate_bronze": recorded("gate_bronze", warnings=tuple(f"check {word}" for word in "abcdefg")),
        "land": recorded("land", warnings=("A source was late.",)),
    }
    gate, land = alerts_of("t1", DAY, {}, receipts)
    assert gate.severity == land.severity == "warn"
    assert "gate_bronze went on with 7 warnings. (1) check a" in gate.message
    assert "And 2 more." in gate.message
    assert "land went on with 1 warning. (1) A source was late." in land.message


def test_a_very_long_message_is_cut() -> None:
    (alert,) = alerts_of("t1", DAY, {"land": "x" * 10_000}, {})
    assert len(alert.message) == 4_000


def alert(key: str) -> Alert:
    return Alert(key, "stop", f"about {key}", ("land",))


def test_the_log_remembers_what_was_delivered_for_a_day(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "alerts" / "t1.log")
    assert log.delivered(DAY) == frozenset()
    log.deliver("t1", DAY, alert("a"))
    log.deliver("t1", date(2026, 3, 2), alert("b"))
    assert log.delivered(DAY) == {"a"}


def test_a_line_that_a_crash_cut_off_was_not_delivered(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "t1.log")
    log.deliver("t1", DAY, alert("a"))
    log.deliver("t1", DAY, alert("b"))
    log.path.write_bytes(log.path.read_bytes()[:-20])
    assert log.delivered(DAY) == {"a"}
    log.deliver("t1", DAY, alert("b"))
    assert log.delivered(DAY) == {"a", "b"}
