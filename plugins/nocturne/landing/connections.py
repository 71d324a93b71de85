"""Where a source of kind `api` is and how it knows us: an Airflow connection, without Airflow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from nocturne.errors import PermanentError

_TELLING = ("token", "key", "secret", "password", "passwd", "auth", "sig", "credential", "session")


@dataclass(frozen=True)
class Connection:
    """An address and what opens it: a bearer token, or login and password. Its `repr` shows the address alone."""

    url: str
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse an address that is no plain http(s) one, without repeating it: what stands in the wrong field may be a secret."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise PermanentError(
                "A connection's address is not of the form http(s)://host[:port][/path].",
                next_step="Correct the connection: login and password have fields of their own.",
            )

    @classmethod
    def from_parts(
        cls,
        *,
        scheme: str | None,
        host: str | None,
        port: int | None = None,
        path: str | None = None,
        login: str | None = None,
        password: str | None = None,
    ) -> Self:
        """The connection of an Airflow connection's fields.

        A password without a login is a bearer token. As in Airflow's HTTP hook, a `path` (Airflow's field `schema`) of `http` or `https`
        is the protocol, and a host may already name its protocol.
        """
        if path in {"http", "https"}:
            scheme, path = path, None
        if host and "://" in host:
            scheme, _, host = host.partition("://")
        host, _, below = (host or "").partition("/")
        place = "/".join(part.strip("/") for part in (below, path or "") if part.strip("/"))
        address = f"[{host}]" if ":" in host and not host.startswith("[") and host.count(":") > 1 else host
        url = urlunsplit((scheme or "http", f"{address}:{port}" if port else address, quote(place), "", ""))
        if password and not login:
            return cls(url, token=password)
        return cls(url, login=login or None, password=password or None)


@dataclass(frozen=True)
class Patience:
    """How long one source is borne with: tries a page, the first and the longest pause, and all pauses together."""

    tries: int = 6
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30
    all_pauses_seconds: float = 180
    timeout_seconds: float = 60


Connections = Callable[[str], Connection]
"""Finds the connection of an id. Raises PermanentError if there is none."""


def environment_connection(connection_id: str, environment: Mapping[str, str] | None = None) -> Connection:
    """The connection that stands in AIRFLOW_CONN_<ID>, in either form that Airflow reads: a URI or JSON.

    Raises PermanentError if there is none or it cannot be read; the message never holds its value.
    """
    variable = f"AIRFLOW_CONN_{connection_id.upper()}"
    text = (os.environ if environment is None else environment).get(variable, "")
    if not text:
        raise PermanentError(
            f"There is no connection {connection_id}.", next_step=f"Set {variable} to http://:<token>@<host>:<port>/<path>."
        )
    try:
        return Connection.from_parts(**(_from_json(text) if text.lstrip().startswith("{") else _from_uri(text)))
    except (PermanentError, ValueError, AttributeError, TypeError):
        # Without its cause: that would quote the value, and the value is a secret.
        raise PermanentError(
            f"{variable} is neither a URI nor JSON that describes a connection.",
            next_step=f"Set {variable} to http://:<token>@<host>:<port>/<path>.",
        ) from None


def without_secrets(url: str) -> str:
    """The address as it may stand in messages and manifests: no user, no password, no query value that could open a door."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{quote(name, safe='')}={'***' if any(word in name.lower() for word in _TELLING) else quote(value, safe=':,')}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def _from_json(text: str) -> dict[str, Any]:
    given = json.loads(text)
    return {
        "scheme": given.get("conn_type"),
        "host": given.get("host"),
        "port": int(given["port"]) if given.get("port") else None,
        "path": given.get("schema"),
        "login": given.get("login"),
        "password": given.get("password"),
    }


def _from_uri(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    return {
        "scheme": parts.scheme,
        "host": parts.hostname,
        "port": parts.port,
        "path": unquote(parts.path.strip("/")),
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
