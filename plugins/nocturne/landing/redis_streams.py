"""Redis Streams: the entries of one stream between two ids.

Redis counts (since version 7) what a stream has ever held, so what was trimmed or deleted before it was read is counted to the entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import TimeoutError as NoAnswerError
from redis.retry import Retry

from nocturne.errors import PermanentError
from nocturne.landing.brokers import BrokerError, Extent, Piece, Span, at_once, part_of
from nocturne.landing.connections import Connection, is_here
from nocturne.landing.messages import instant, line, line_of_fields, refused, texts
from nocturne.manifests import Range

_PASSING: Final = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNAVAILABLE")
_CONNECT_SECONDS: Final = 10
_TRIES: Final = 3
_TLS: Final = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_HEARD: Final = {"db", "ssl", *_TLS}

Fields = list[tuple[bytes, bytes]]


class RedisStream:
    """One stream of a server."""

    def __init__(self, connection: Connection, stream: str, group: str, field: str | None, *, patience_seconds: float) -> None:
        """Nothing is asked of the server yet. Raises PermanentError if the connection is none of Redis'."""
        if foreign := sorted(set(connection.extra) - _HEARD):
            raise _wrong(f"the extra fields {', '.join(foreign)} are not heard")
        database = str(connection.extra.get("db", connection.path) or "0")
        if not connection.host or not database.isdecimal():
            raise _wrong("it needs a host, and the number of a database")
        self.place = f"redis://{connection.host}:{connection.port or 6379}/{database}"
        self._stream, self._group, self._field = stream, group, field
        encryption: dict[str, Any] = {name: connection.extra[name] for name in _TLS if name in connection.extra}
        self._client = Redis(
            host=connection.host,
            port=connection.port or 6379,
            db=int(database),
            username=connection.login,
            password=connection.password,
            protocol=2,
            client_name="nocturne",
            socket_timeout=patience_seconds,
            socket_connect_timeout=min(_CONNECT_SECONDS, patience_seconds),
            retry=Retry(ExponentialBackoff(cap=1, base=0.1), _TRIES),  # the task itself is tried again, after a longer pause
            ssl=_is_encrypted(connection),
            **encryption,
        )
        # redis-py makes a dict of an entry's fields, in which the last of two of one name would stand alone.
        self._client.set_response_callback("XRANGE", lambda entries, **_: entries)

    def extents(self) -> Mapping[str, Extent]:
        """The stream's first id, and the last that it ever gave."""
        with _told(self._stream):
            info: Any = self._client.xinfo_stream(self._stream)
        last, first = info["last-generated-id"].decode(), info["first-entry"]
        return {part_of(self._stream, 0): Extent(first[0].decode() if first else last, last, info.get("entries-added"))}

    def order(self, position: str) -> tuple[int, int]:
        """An id is milliseconds and a number."""
        milliseconds, _, number = position.partition("-")
        return int(milliseconds), int(number or 0)

    def drain(self, spans: Sequence[Span]) -> Iterator[Piece]:
        """Page after page."""
        for span in spans:
            after, largest = f"({span.since}" if span.since else "-", 0
            while True:
                count = at_once(largest)
                with _told(self._stream):
                    entries: Any = self._client.xrange(self._stream, after, span.until, count)
                lines = [self._line(entry.decode(), fields) for entry, fields in entries]
                is_last = len(entries) < count
                yield Piece(span, lines, span.until if is_last else None)
                if is_last:
                    break
                after, largest = f"({entries[-1][0].decode()}", max(largest, *map(len, lines))

    def _line(self, entry: str, flat: Sequence[bytes] | None) -> bytes:
        about: dict[str, Any] = {
            "_key": None,
            "_partition": 0,
            "_offset": entry,
            "_timestamp": instant(self.order(entry)[0]),
            "_headers": {},
        }
        fields: Fields = list(zip((flat or ())[::2], (flat or ())[1::2], strict=True))
        if self._field is None:
            return line_of_fields(about, fields)
        others = [(name, value) for name, value in fields if name != self._field.encode()]
        values = [value for name, value in fields if name == self._field.encode()]
        if len(values) != 1:
            return refused(f"it has not one field {self._field}", {**about, "_value": texts(fields)[0]})
        return line({**about, "_headers": texts(others)[0]}, values[0])

    def lost(self, span: Span, rows: int) -> int:
        """What the stream has had since we were there, less what came."""
        before = span.before.ever if span.before else None
        return 0 if span.since is None or before is None or span.ever is None else max(0, span.ever - before - rows)

    def commit(self, ranges: Sequence[Range]) -> None:
        """Set the last id that the group was given; makes the group if there is none."""
        for one in (one for one in ranges if one.part == part_of(self._stream, 0)):
            with _told(self._stream):
                try:
                    self._client.xgroup_setid(self._stream, self._group, one.until, entries_read=one.ever)
                except ResponseError as error:
                    if not str(error).startswith("NOGROUP"):
                        raise
                    self._client.xgroup_create(self._stream, self._group, one.until, entries_read=one.ever)

    def close(self) -> None:
        """Gives the connection back."""
        self._client.close()


def is_open_to_listeners(connection: Connection) -> bool:
    """Whether a password travels without encryption."""
    return bool(connection.password) and not _is_encrypted(connection) and not is_here(connection.host)


def _is_encrypted(connection: Connection) -> bool:
    return connection.scheme == "rediss" or str(connection.extra.get("ssl", "")).lower() in {"true", "1", "yes"}


@contextmanager
def _told(stream: str) -> Iterator[None]:
    """Turn what the client raises into BrokerError."""
    try:
        yield
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        raise BrokerError(str(error), may_pass=False) from None
    except (NoConnectionError, NoAnswerError) as error:
        raise BrokerError(str(error) or type(error).__name__, may_pass=True) from None
    except RedisError as error:
        said = str(error)
        if "no such key" in said:
            raise BrokerError(f"there is no stream {stream}", may_pass=False) from None
        raise BrokerError(said, may_pass=said.startswith(_PASSING)) from None


def _wrong(what: str) -> PermanentError:
    return PermanentError(
        f"A connection of Redis cannot be used: {what}.", next_step="Correct the connection; the README lists its fields."
    )
