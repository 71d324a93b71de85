"""Where a source is and how it knows us: an Airflow connection, without Airflow."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from nocturne.errors import PermanentError

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TELLING = ("token", "key", "secret", "password", "passwd", "auth", "sig", "credential", "session")


@dataclass(frozen=True)
class Connection:
    """The fields of an Airflow connection (`scheme` is its type, `path` its schema). Its `repr` shows what it is of, and the host alone.

    Each kind of source reads them in its own way: as the address of an API, a database's URL, the settings of a broker's client.
    """

    scheme: str = ""
    host: str = ""
    port: int | None = None
    path: str = field(default="", repr=False)
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_uri(cls, text: str) -> Self:
        """The connection of a URI as Airflow reads it; what stands in its query is its extra fields. Raises ValueError if it is none."""
        parts = urlsplit(text)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return cls(
            scheme=parts.scheme.replace("-", "_"),
            host=unquote(parts.hostname or ""),
            port=parts.port,
            path=unquote(parts.path[1:]),
            login=unquote(parts.username or "") or None,
            password=unquote(parts.password or "") or None,
            extra=json.loads(query["__extra__"]) if "__extra__" in query else query,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The connection of a JSON object as Airflow reads it. Raises ValueError if it is none."""
        given = json.loads(text)
        extra = given.get("extra") or {}
        return cls(
            scheme=given.get("conn_type") or "",
            host=given.get("host") or "",
            port=int(given["port"]) if given.get("port") else None,
            path=given.get("schema") or "",
            login=given.get("login") or None,
            password=given.get("password") or None,
            extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
        )

    @property
    def endpoint(self) -> str:
        """The address of an object store that is not its provider's own, as Airflow's connections name it; else empty."""
        return str(self.extra.get("endpoint_url") or self.extra.get("blob_storage_endpoint") or "")

    def http_address(self) -> str:
        """The address of an API. As in Airflow's HTTP hook, a schema of `http` or `https` is the protocol, and a host may already name it.

        Raises PermanentError, without repeating it, if it is no plain http(s) address: what stands in the wrong field may be a secret.
        """
        scheme, host, path = self.scheme, self.host, self.path
        if path in {"http", "https"}:
            scheme, path = path, ""
        if "://" in host:
            scheme, _, host = host.partition("://")
        host, _, below = host.partition("/")
        place = "/".join(part.strip("/") for part in (below, path) if part.strip("/"))
        address = f"[{host}]" if ":" in host and not host.startswith("[") and host.count(":") > 1 else host
        url = urlunsplit((scheme or "http", f"{address}:{self.port}" if self.port else address, quote(place), "", ""))
        try:
            parts = urlsplit(url)
            is_plain = not (parts.username or parts.password or parts.query or parts.fragment) and (parts.port or True)
        except ValueError:
            is_plain = False
        if not is_plain or parts.scheme not in {"http", "https"} or not parts.hostname:
            raise PermanentError(
                "A connection's address is not of the form http(s)://host[:port][/path].",
                next_step="Correct the connection: login and password have fields of their own.",
            )
        return url


@dataclass(frozen=True)
class Patience:
    """How long one source is borne with: tries a page, the first and the longest pause, and all pauses together."""

    tries: int = 6
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30
    all_pauses_seconds: float = 180
    timeout_seconds: float = 60


class Pauses:
    """The pauses between one source's tries: growing, random, and within its patience."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.paused_seconds = 0.0

    def before_next(self, attempt: int, asked_seconds: float | None = None) -> bool:
        """Pause after the try of number `attempt` (1 is the first), at least as long as the server asked; False: no patience is left."""
        longest = min(self._patience.longest_pause_seconds, self._patience.first_pause_seconds * 2 ** (attempt - 1))
        least, most = (longest / 2, longest) if asked_seconds is None else (asked_seconds, asked_seconds + longest / 2)
        pause = random.uniform(least, most)  # noqa: S311
        if attempt == self._patience.tries or self.paused_seconds + pause > self._patience.all_pauses_seconds:
            return False
        self.paused_seconds += pause
        time.sleep(pause)
        return True


def is_here(host: str | None) -> bool:
    """Whether a host is this machine: no proxy is asked for it, and nobody listens on the way."""
    return host in _LOOPBACK


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
        found = Connection.from_json(text) if text.lstrip().startswith("{") else Connection.from_uri(text)
        if not found.scheme:
            raise ValueError("a connection has a type")
    except (ValueError, AttributeError, TypeError):
        # Without its cause: that would quote the value, and the value is a secret.
        raise PermanentError(
            f"{variable} is neither a URI nor JSON that describes a connection.",
            next_step=f"Set {variable} to http://:<token>@<host>:<port>/<path>.",
        ) from None
    return found


def without_secrets(url: str) -> str:
    """The address as it may stand in messages and manifests: no user, no password, no query value that could open a door."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{quote(name, safe='')}={'***' if any(word in name.lower() for word in _TELLING) else quote(value, safe=':,')}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
