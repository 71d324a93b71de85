"""`nocturne run land`: a station from the terminal, its receipt in the ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nocturne import cli
from nocturne.ledger import Ledger
from nocturne.settings import Settings

TENANT = """\
name: Terminal
time_zone: UTC
currency: EUR
begins_on: 2026-03-29
sources:
  - {name: plays, dataset: plays, kind: files, location: "plays/{day}.ndjson", required: true}
"""


@pytest.fixture(autouse=True)
def _installation(database: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands see the session's PostgreSQL, and sources, lake and tenants of this test's own."""
    for name in ("var", "postgres_port", "airflow_port", "mlflow_port", "demo_port", "log_port", "trigger_log_port"):
        monkeypatch.setenv(f"NOCTURNE_{name.upper()}", str(getattr(database, name)))
    assert database.master_key
    monkeypatch.setenv("NOCTURNE_MASTER_KEY", database.master_key.get_secret_value())
    for name in ("lake", "sources", "tenants"):
        monkeypatch.setenv(f"NOCTURNE_{name.upper()}", str(tmp_path / name))
        (tmp_path / name).mkdir()
    (tmp_path / "tenants/terminal.yml").write_text(TENANT)


def test_a_station_runs_from_the_terminal_and_its_receipt_is_kept(
    database: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sources/plays").mkdir()
    (tmp_path / "sources/plays/2026-03-29.ndjson").write_text("{}\n")
    assert cli.main(["run", "land", "terminal", "--day", "2026-03-29"]) == 0
    assert "plays   1         1       3" in capsys.readouterr().out
    recorded = Ledger(database).receipts("terminal", date(2026, 3, 29))["land"]
    assert (recorded.outcome, recorded.receipt.count("files")) == ("done", 1)
    assert recorded.run_id.startswith("terminal/")

    assert cli.main(["run", "land", "terminal", "--day", "2026-03-29"]) == 0
    assert "unchanged" in capsys.readouterr().out


def test_a_station_that_fails_says_so_in_one_message_and_in_the_ledger(database: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "land", "terminal", "--day", "2026-03-30"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("[tenant terminal, day 2026-03-30] Source plays has nothing for 2026-03-30")
    assert "Traceback" not in said.err
    recorded = Ledger(database).receipts("terminal", date(2026, 3, 30))["land"]
    assert recorded.outcome == "failed"
    assert recorded.error is not None
    assert "has nothing" in recorded.error


def test_a_delivery_is_taken_back_and_listed_from_the_terminal(
    database: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sources/plays").mkdir()
    for content in ("{}\n", "{}\n{}\n"):
        (tmp_path / "sources/plays/2026-03-29.ndjson").write_text(content)
        assert cli.main(["run", "land", "terminal", "--day", "2026-03-29"]) == 0
    what = ["terminal", "plays", "2026-03-29", "--reason", "sent twice over"]
    assert cli.main(["deliveries", "restore", *what]) == 0
    assert "`nocturne deliveries restore terminal plays 2026-03-29 --to 2 --reason ...` undoes it." in capsys.readouterr().out
    assert cli.main(["deliveries", "list", "terminal", "plays"]) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines() if line.startswith("2026-03-29")]
    assert [(number, state) for _, number, state, *_ in lines] == [("1", "stands"), ("2", "taken")]
    assert "sent twice over" in shown
    assert cli.main(["deliveries", "withdraw", *what]) == 0
    assert cli.main(["deliveries", "withdraw", *what]) == 1
    assert "Nothing of source plays for 2026-03-29 stands that could be withdrawn." in capsys.readouterr().err
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert Ledger(database).receipts("terminal", yesterday)["steer_deliveries"].outcome == "failed"
