"""Sources of kind `files` at an address: `https://host/path/{day}.csv.gz`, one file a day.

What changes when the file does are its ETag, its Last-Modified and its size, asked for without the file itself (HEAD). A day that was taken
is asked for again for a week; a server that tells none of these is asked for the file each time. No redirect is followed, and a secret
goes only to the host that its connection names. What may pass (no answer, half an answer, 5xx, 408, 429) is tried again within the
source's patience.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from nocturne.errors import DeliveryError, SourceUnavailable
from nocturne.landing.access import Access, NoTokenError
from nocturne.landing.batches import Shelf, Staged, Taken, write
from nocturne.landing.connections import Connection, Patience, Pauses, is_here, without_secrets
from nocturne.landing.files import Seen, name_in_batch

_AGAIN_DAYS: Final = 7
_PASSING: Final = {408, 429}
ValueT = TypeVar("ValueT")


class _NotYetError(Exception):
    """A try that failed in a way that may pass."""


class Address:
    """The file, or the file a day, that stands at a source's location."""

    def __init__(self, shelf: Shelf, connection: Connection | None, patience: Patience, begins_on: date, day: date) -> None:
        self._shelf = shelf
        self._patience = patience
        self._pauses = Pauses(patience)
        self._days = [begins_on + timedelta(days=count) for count in range((day - begins_on).days + 1)]
        self._again_from = day - timedelta(days=_AGAIN_DAYS)
        self._scheme, _, self._location = shelf.source.location.partition("://")
        parts = urlsplit(shelf.source.location)
        access = Access.of(connection, timeout_seconds=patience.timeout_seconds) if connection is not None else None
        if access is not None:
            self._check(access, parts.hostname or "")
        self._client = httpx.Client(
            headers={"User-Agent": "nocturne", "Accept-Encoding": "identity"},
            auth=access.auth if access is not None else None,
            timeout=patience.timeout_seconds,
            trust_env=not is_here(parts.hostname),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def names(self) -> Iterator[str]:
        """The addresses that are asked, without their scheme."""
        if not self._shelf.source.is_daily:
            yield self._location
            return
        for day in self._days:
            if day >= self._again_from or not self._shelf.holds(day):
                yield self._location.replace("{day}", day.isoformat())

    def see(self, name: str) -> Seen | None:
        """The file as its server tells of it; None if there is none."""
        url = f"{self._scheme}://{name}"
        answer = self._patiently(url, lambda: self._asked(self._client.request("HEAD", url)))
        if answer.status_code in {404, 410}:
            return None
        if answer.status_code not in {200, 405, 501}:
            raise self._refused(url, answer)
        return Seen(url, name_in_batch(self._location, name.partition("?")[0]), without_secrets(url), *_look(answer))

    def stage(self, seen: Seen, folder: Path, taken: Taken) -> Staged | None:
        """Copy the file beside its batch; None, with a warning, if it changed since it was seen, or went away."""
        path = folder / hashlib.sha256(seen.origin.encode()).hexdigest()[:32]

        def get() -> tuple[int, str] | None:
            with self._client.stream("GET", seen.path) as answer:
                self._asked(answer)
                if answer.status_code in {404, 410}:
                    return None
                if answer.status_code != 200:
                    raise self._refused(seen.path, answer)
                found = write(path, _pieces(answer))
                return found if seen.modified_ns < 0 or _look(answer) == seen.look else None

        found = self._patiently(seen.path, get)
        if found is not None:
            return Staged(path, seen.name, seen.origin, *found)
        path.unlink(missing_ok=True)
        taken.warnings.append(f"{self._shelf.source.name}: {seen.origin} changed while it was read; the next run takes it")
        return None

    def _patiently(self, url: str, ask: Callable[[], ValueT]) -> ValueT:
        reason = ""
        for attempt in range(1, self._patience.tries + 1):
            try:
                return ask()
            except _NotYetError as error:
                reason = str(error)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__} {error}".strip()
            except NoTokenError as error:
                if not error.may_pass:
                    raise self._wrong(url, f"is not asked: {error}", "Correct the connection's client id, secret and token_url.") from error
                reason = str(error)
            except httpx.InvalidURL as error:
                raise self._wrong(url, f"is no address: {error}", "Correct the source's location.") from error
            if not self._pauses.before_next(attempt):
                break
        raise SourceUnavailable(
            f"Source {self._shelf.source.name}: {without_secrets(url)} gave no file: {reason}.",
            next_step="Nothing, if that server is up again soon: the task is tried again by itself.",
            tenant=self._shelf.tenant.slug,
        )

    @staticmethod
    def _asked(answer: httpx.Response) -> httpx.Response:
        if answer.status_code in _PASSING or (answer.status_code >= 500 and answer.status_code != 501):
            raise _NotYetError(f"{answer.status_code} {answer.reason_phrase}")
        return answer

    def _check(self, access: Access, host: str) -> None:
        if urlsplit(access.url).hostname != host:
            raise self._wrong(
                self._shelf.source.location, "is another host than its connection's", "Correct the connection or the location."
            )
        if access.auth is not None and self._scheme == "http" and not is_here(host):
            raise self._wrong(self._shelf.source.location, "would carry a secret unencrypted", "Use https.")

    def _refused(self, url: str, answer: httpx.Response) -> DeliveryError:
        step = "Correct the secret in its connection." if answer.status_code in {401, 403} else "Correct the source's location."
        return self._wrong(url, f"answers {answer.status_code} {answer.reason_phrase}", step)

    def _wrong(self, url: str, what: str, next_step: str) -> DeliveryError:
        said = f"Source {self._shelf.source.name}: {without_secrets(url)} {what}."
        return DeliveryError(said, next_step=next_step, tenant=self._shelf.tenant.slug)


def _look(answer: httpx.Response) -> tuple[int, int]:
    """The size, and a number that changes with ETag and Last-Modified; a negative number, never the same, if the server tells neither."""
    told = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified")]
    if answer.status_code != 200 or not any(told):
        return 0, -time.time_ns()
    size = answer.headers.get("Content-Length", "")
    return int(size) if size.isdecimal() else 0, int.from_bytes(hashlib.sha256("\n".join(told).encode()).digest()[:7])


def _pieces(answer: httpx.Response) -> Iterator[bytes]:
    """The bytes as they were sent."""
    yield from answer.iter_raw(1 << 20)
