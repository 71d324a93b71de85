"""How an API knows us: an Airflow connection's fields, read as an address and what opens it.

    login   password   extra                                                         is
    -       token                                                                    a bearer token
    login   password                                                                 basic authentication
    -       key        {"auth": "header", "name": "X-Api-Key"}                       a key in a header
    -       key        {"auth": "query", "name": "api_key"}                          a key in the address's query
    id      secret     {"auth": "oauth2", "token_url": "https://...",                OAuth2 client credentials (RFC 6749, 4.4);
                        "scope": "...", "audience": "...", "client_auth": "body"}    the last three may be left out

Secrets stand in `password` alone, which Airflow hides and encrypts.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from nocturne.errors import PermanentError
from nocturne.landing.connections import Connection, is_here
from nocturne.landing.paging import with_parameter

_LEEWAY_SECONDS = 30
_EXTRAS = {
    None: set[str](),
    "bearer": set[str](),
    "basic": set[str](),
    "header": {"name"},
    "query": {"name"},
    "oauth2": {"token_url", "scope", "audience", "client_auth"},
}


class NoTokenError(Exception):
    """The token's server gave none; `may_pass` if another try is worth it, after `pause` seconds if it said so."""

    def __init__(self, what: str, *, may_pass: bool, retry_after: str | None = None) -> None:
        self.may_pass = may_pass
        self.retry_after = retry_after
        super().__init__(what)


@dataclass(frozen=True)
class Access:
    """An API's address, what opens it, and the parameter of the query that holds a key, if one does."""

    url: str
    auth: httpx.Auth | None
    key_parameter: str | None = None

    @classmethod
    def of(cls, connection: Connection, *, timeout_seconds: float = 60) -> Self:
        """Read a connection. Raises PermanentError, without repeating any value, if it is no API's."""
        url = connection.http_address()
        extra = {name: value for name, value in connection.extra.items() if name in {"auth", *set().union(*_EXTRAS.values())}}
        way = extra.pop("auth", None)
        if way not in _EXTRAS:
            raise _wrong(f"the extra field `auth` must be one of {', '.join(sorted(filter(None, _EXTRAS)))}")
        if foreign := set(extra) - _EXTRAS[way]:
            raise _wrong(f"the extra fields {', '.join(sorted(foreign))} do not belong to `auth`: {way}")
        if way not in {None, "basic", "oauth2"} and not connection.password:
            raise _wrong("it has no password, in which the token or key stands")
        return cls(url, _auth(way, connection, extra, timeout_seconds), _name(extra) if way == "query" else None)

    @property
    def is_here(self) -> bool:
        """Whether the address is of this machine."""
        return is_here(urlsplit(self.url).hostname)

    @property
    def is_open_to_listeners(self) -> bool:
        """Whether a secret travels without encryption."""
        return self.auth is not None and self.url.startswith("http://") and not self.is_here


def _auth(way: str | None, connection: Connection, extra: Mapping[str, Any], timeout_seconds: float) -> httpx.Auth | None:
    secret = connection.password or ""
    if way == "oauth2":
        return _ClientCredentials(_token_url(extra), connection.login or "", secret, extra, timeout_seconds)
    if way == "header":
        return _Header(_name(extra), secret)
    if way == "query":
        return _Key(_name(extra), secret)
    if connection.login and way != "bearer":
        return httpx.BasicAuth(connection.login, secret)
    return _Header("Authorization", f"Bearer {secret}") if secret else None


def _name(extra: Mapping[str, Any]) -> str:
    name = extra.get("name")
    if not isinstance(name, str) or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise _wrong("the extra field `name` must name the header or parameter that holds the key")
    return name


def _token_url(extra: Mapping[str, Any]) -> str:
    url = extra.get("token_url")
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise _wrong("the extra field `token_url` must be an address of the form https://host[:port]/path")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here(parts.hostname)):
        raise _wrong("the secret is sent to `token_url`, which must be https")
    return str(url)


def _wrong(what: str) -> PermanentError:
    return PermanentError(
        f"A connection of an API cannot be used: {what}.", next_step="Correct the connection; the README lists its fields."
    )


class _Header(httpx.Auth):
    """A secret in a header of every request."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[self._name] = self._value
        yield request


class _Key(httpx.Auth):
    """A secret in the query of every request. It is put there on the wire alone: no address that we keep or tell holds it."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.url = httpx.URL(with_parameter(str(request.url), self._name, self._value))
        yield request


class _ClientCredentials(httpx.Auth):
    """A token that is fetched when there is none, shortly before it expires, and once when the API no longer takes it."""

    def __init__(self, url: str, client_id: str, secret: str, extra: Mapping[str, Any], timeout_seconds: float) -> None:
        self._url = url
        self._asked = {name: str(extra[name]) for name in ("scope", "audience") if extra.get(name)} | {"grant_type": "client_credentials"}
        self._auth = httpx.Auth()
        if extra.get("client_auth", "basic") != "body":
            self._auth = httpx.BasicAuth(client_id, secret)
        else:
            self._asked |= {"client_id": client_id, "client_secret": secret}
        self._timeout_seconds = timeout_seconds
        self._token = ""
        self._expires = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        is_fresh = not self._token or time.monotonic() >= self._expires
        if is_fresh:
            self._fetch()
        request.headers["Authorization"] = f"Bearer {self._token}"
        answer = yield request
        if answer.status_code == 401 and not is_fresh:
            self._fetch()
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _fetch(self) -> None:
        told = f"the token's server {self._url}"
        try:
            with httpx.Client(timeout=self._timeout_seconds, trust_env=not is_here(urlsplit(self._url).hostname)) as client:
                answer = client.post(self._url, data=self._asked, auth=self._auth, headers={"Accept": "application/json"})
        except httpx.TransportError as error:
            raise NoTokenError(f"{told} does not answer: {type(error).__name__}", may_pass=True) from None
        if answer.status_code != 200:
            may_pass = answer.status_code >= 500 or answer.status_code in {408, 429}
            raise NoTokenError(
                f"{told} answers {answer.status_code} {answer.reason_phrase}",
                may_pass=may_pass,
                retry_after=answer.headers.get("Retry-After"),
            )
        try:
            given = answer.json()
            self._token = str(given["access_token"])
            lasts = float(given.get("expires_in") or 300)
        except (ValueError, KeyError, TypeError, AttributeError):
            # Without its cause: that would quote the answer, and the answer holds a secret.
            raise NoTokenError(f"{told} answers 200 without an `access_token`", may_pass=False) from None
        self._expires = time.monotonic() + lasts - min(_LEEWAY_SECONDS, lasts / 2)
