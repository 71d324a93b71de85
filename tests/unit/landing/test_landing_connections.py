"""Connections: every form that Airflow reads leads to the same address, and no secret leaves one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.errors import PermanentError
from nocturne.landing import Connection, environment_connection
from nocturne.landing.access import Access
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
    assert connection.http_address() == url
    assert (None if connection.login else connection.password, connection.login, connection.login and connection.password) == opened_by


@pytest.mark.parametrize("value", ["", "hush", "http://:hush@host:port", '{"host": "hush"', '{"port": "hush"}', "{}", "[]"])
def test_what_is_no_connection_names_its_variable_and_not_its_value(value: str) -> None:
    with pytest.raises(PermanentError) as caught:
        read(value)
    assert "connection" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_extra_fields_of_both_forms_are_read() -> None:
    wanted = {"auth": "header", "name": "X-Key"}
    assert read("https://:k@host/?auth=header&name=X-Key").extra == wanted
    assert read("https://:k@host/?__extra__=%7B%22auth%22%3A+%22header%22%2C+%22name%22%3A+%22X-Key%22%7D").extra == wanted
    assert read(json.dumps({"conn_type": "http", "host": "host", "extra": wanted})).extra == wanted
    assert read(json.dumps({"conn_type": "http", "host": "host", "extra": json.dumps(wanted)})).extra == wanted


@given(secrets, secrets)
def test_no_secret_is_shown(first: str, second: str) -> None:
    connection = Connection("http", "host", path="x", login=first, password=second, extra={"a": first})
    assert repr(connection) == "Connection(scheme='http', host='host', port=None)"


@pytest.mark.parametrize(
    "connection",
    [
        Connection("http", "me:hush@host"),
        Connection("http", "host?token=hush"),
        Connection("http", "host#hush"),
        Connection("file", "", path="hush"),
        Connection("ftp", "hush"),
        Connection("http", "", path="hush"),
        Connection("http", "host:hush"),
    ],
)
def test_an_address_has_no_place_for_secrets(connection: Connection) -> None:
    with pytest.raises(PermanentError, match="not of the form http") as caught:
        connection.http_address()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"auth": "digest"}, "`auth` must be one of basic, bearer, header, oauth2, query"),
        ({"auth": "header"}, "`name` must name the header or parameter"),
        ({"auth": "query", "name": "a=b"}, "`name` must name the header or parameter"),
        ({"auth": "oauth2"}, "`token_url` must be an address"),
        ({"auth": "oauth2", "token_url": "http://elsewhere/token"}, "must be https"),
        ({"auth": "oauth2", "token_url": "https://me:hush@host/token"}, "`token_url` must be an address"),
        ({"name": "X"}, "the extra fields name do not belong"),
    ],
)
def test_extra_fields_that_make_no_sense_are_refused(extra: dict[str, str], told: str) -> None:
    with pytest.raises(PermanentError, match=told) as caught:
        Access.of(Connection("https", "host", password="hush", extra=extra))
    assert "hush" not in str(caught.value)


def test_fields_of_others_are_left_alone() -> None:
    assert Access.of(Connection("https", "host", extra={"timeout": 3})).auth is None


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
