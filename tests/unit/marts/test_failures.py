"""What a failed dbt command says to the person on call."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pytest

from nocturne.errors import BuildFailed, DatabaseUnavailable
from nocturne.marts.building import _failure, _without_rows
from nocturne.settings import Settings
from tests.unit.marts.test_project import tenant

DAY = date(2026, 1, 2)


def result(status: str, message: str, *, kind: str = "model", name: str = "plays") -> SimpleNamespace:
    node = SimpleNamespace(
        resource_type=kind, name=name, original_file_path=f"models/{name}.sql", compiled_path=f"/var/compiled/{name}.sql"
    )
    return SimpleNamespace(status=status, message=message, node=node)


def test_it_names_model_cause_compiled_sql_and_next_step(settings: Settings) -> None:
    error = _failure(None, [result("success", "OK"), result("error", "Database Error\n  division by zero")], tenant(), DAY, settings)
    assert isinstance(error, BuildFailed)
    for part in (
        "tenant some",
        "2026-01-02",
        "model plays (models/plays.sql)",
        "division by zero",
        "/var/compiled/plays.sql",
        "some_owner",
    ):
        assert part in str(error)


def test_it_names_every_failed_test(settings: Settings) -> None:
    failed = [result("fail", "Got 2 results", kind="test", name=name) for name in ("grain_plays", "grain_sessions")]
    message = str(_failure(None, failed, tenant(), DAY, settings))
    assert "test grain_plays" in message
    assert "test grain_sessions" in message


def test_values_of_rows_do_not_reach_the_message() -> None:
    told = _without_rows(
        "duplicate key value violates a constraint\n  DETAIL:  Key (play_id)=(secret) already exists.\n  compiled code at x"
    )
    assert told == "duplicate key value violates a constraint"


@pytest.mark.parametrize(
    "message",
    [
        "server closed the connection unexpectedly",
        "terminating connection due to administrator command",
        'connection to server at "127.0.0.1", port 1 failed: Connection refused',
    ],
)
def test_a_database_that_went_away_is_tried_again(message: str, settings: Settings) -> None:
    assert isinstance(_failure(None, [result("error", message)], tenant(), DAY, settings), DatabaseUnavailable)
    assert isinstance(_failure(RuntimeError(message), [], tenant(), DAY, settings), DatabaseUnavailable)
