"""Connections: every form that Airflow reads leads to the same address, and no secret leaves one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.errors import PermanentError
from nocturne.landing import Connection, environment_connection
from nocturne.landing.connections import without_secrets

secrets = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=8)


def read(value: str) -> Connection:
    return environment_connection("nocturne_dusk__shop", {"AIRFLOW_CONN_NOCTURNE_DUSK__SHOP": value})


@pytest.mark.parametrize(
    ("value", "url", "opened_by"),
    [
        ("http://:tok%2Fen@localhost:8482/dusk", "http://localhost:8482/dusk", ("tok/en", None, None)),
        ("https://me:p%40ss@api.example/v1/plays/", "https://api.example/v1/plays", (None, "me", "p@ss")),
        ("http://api.example/https", "https://api.example", (None, None, None)),
        ("http://[::1]:8080", "http://[::1]:8080", (None, None, None)),
        (
            json.dumps({"conn_type": "http", "host": "127.0.0.1", "port": 8482, "schema": "dusk", "password": "token"}),
            "http://127.0.0.1:8482/dusk",
            ("token", None, None),
        ),
        (
            json.dumps({"conn_type": "http", "host": "https://api.example/v2", "login": "me", "password": "pass"}),
            "https://api.example/v2",
            (None, "me", "pass"),
        ),
        (
            json.dumps({"conn_type": "http", "host": "api.example", "port": "443", "schema": "https"}),
            "https://api.example:443",
            (None, None, None),
        ),
    ],
)
def test_both_forms_of_airflow_are_read(value: str, url: str, opened_by: tuple[str | None, ...]) -> None:
    connection = read(value)
    assert connection.url == url
    assert (connection.token, connection.login, connection.password) == opened_by


@pytest.mark.parametrize(
    "value", ["", "hush", "ftp://hush@host", "http://:hush@host:port", '{"host": "hush"', '{"port": "hush"}', "{}", "[]"]
)
def test_a_connection_that_leads_nowhere_names_its_variable_and_not_its_value(value: str) -> None:
    with pytest.raises(PermanentError) as caught:
        read(value)
    assert "connection" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(secrets, secrets)
def test_no_secret_is_shown(first: str, second: str) -> None:
    for connection in (Connection("http://host/x", token=first), Connection("http://host/x", login=first, password=second)):
        assert repr(connection) == "Connection(url='http://host/x')"


@pytest.mark.parametrize(
    "url", ["http://me:hush@host/", "http://host/?token=hush", "http://host/#hush", "file:///hush", "//host/hush", "http:///x"]
)
def test_an_address_has_no_place_for_secrets(url: str) -> None:
    with pytest.raises(PermanentError, match="not of the form http") as caught:
        Connection(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://me:hush@host:1/x?day=2026-01-01", "http://host:1/x?day=2026-01-01"),
        ("http://host/x?access_token=hush&page=2&X-Amz-Signature=hush", "http://host/x?access_token=***&page=2&X-Amz-Signature=***"),
        ("http://host/x?api_key=hush#hush", "http://host/x?api_key=***"),
        ("postgresql://me:hush@host/db", "postgresql://host/db"),
    ],
)
def test_an_address_is_told_without_what_opens_doors(url: str, told: str) -> None:
    assert without_secrets(url) == told
