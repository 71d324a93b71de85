"""Sources of kind `api`: JSON over HTTP, page after page, each landed as it was received.

A page that has arrived is written at once, and a run that was killed goes on behind the last one that it finds: the page itself names its
successor. What is worth another try (no answer, half an answer, 5xx, 408, 429) is tried again after a growing, random pause, or after
the one that the server asks for, within a budget for the whole source.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from nocturne.errors import DeliveryError, SourceUnavailable
from nocturne.landing.batches import Shelf, Staged, Taken, write
from nocturne.landing.connections import Connection, Patience, without_secrets
from nocturne.ledger import Mark

_MAX_PAGES = 100_000
_MAX_PAGE_BYTES = 256_000_000
_MAX_PAGE_SECONDS = 300
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# httpx writes every address at level INFO, query and all: a cursor may be a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True)
class _Page:
    """A page that stands in the staging folder."""

    path: Path
    url: str
    bytes: int
    sha256: str
    rows: int
    next_url: str | None


class _NotYetError(Exception):
    """A try that failed in a way that may pass; `pause` seconds are what the server asks for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        self.pause = pause
        super().__init__(reason)


@dataclass
class _Session:
    """One source's turn with its server."""

    shelf: Shelf
    connection: Connection
    patience: Patience
    client: httpx.Client
    paused_seconds: float = 0.0

    def get(self, url: str) -> tuple[bytes, int, str | None]:
        """The page at `url`, the number of its rows and its successor's address. Raises SourceUnavailable when patience is at an end."""
        for attempt in range(1, self.patience.tries + 1):
            try:
                return self._try(url)
            except _NotYetError as error:
                reason, asked = str(error), error.pause
                if asked is not None:
                    reason += f", and asks for {asked:.0f} s of patience"
            longest = min(self.patience.longest_pause_seconds, self.patience.first_pause_seconds * 2 ** (attempt - 1))
            pause = random.uniform(longest / 2, longest) if asked is None else asked + random.uniform(0, longest / 2)  # noqa: S311
            if attempt == self.patience.tries or self.paused_seconds + pause > self.patience.all_pauses_seconds:
                break
            self.paused_seconds += pause
            time.sleep(pause)
        raise SourceUnavailable(
            f"Source {self.shelf.source.name}: {without_secrets(url)} gave no page, asked {attempt} times: {reason}.",
            next_step="Nothing, if that server is up again soon: the task is tried again by itself, and goes on behind the last page.",
            tenant=self.shelf.tenant.slug,
        )

    def _try(self, url: str) -> tuple[bytes, int, str | None]:
        try:
            with self.client.stream("GET", url) as answer:
                if answer.status_code >= 500 or answer.status_code in {408, 429}:
                    raise _NotYetError(f"{answer.status_code} {answer.reason_phrase}", _retry_after(answer.headers.get("Retry-After")))
                if answer.status_code != 200:
                    raise self._refused(url, answer)
                body = self._body(url, answer)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _NotYetError(f"{type(error).__name__} {error}".strip()) from error
        except httpx.InvalidURL as error:
            raise self._wrong(url, f"is no address: {error}", "correct the connection or the source's location") from error
        try:
            page = json.loads(body)
        except ValueError as error:
            # A server that dies in the middle of an answer without a length leaves half a page that HTTP calls whole.
            raise _NotYetError(f"200 with {len(body)} bytes that are no JSON") from error
        return body, self._rows(url, page), self._next(url, page)

    def _body(self, url: str, answer: httpx.Response) -> bytes:
        chunks, size, deadline = [], 0, time.monotonic() + _MAX_PAGE_SECONDS
        for chunk in answer.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_PAGE_BYTES:
                raise self._wrong(url, f"is a page of more than {_MAX_PAGE_BYTES} bytes", "ask for smaller pages in the source's location")
            if time.monotonic() > deadline:
                raise _NotYetError(f"the page had not arrived whole after {_MAX_PAGE_SECONDS} s")
        return b"".join(chunks)

    def _rows(self, url: str, page: Any) -> int:
        name = self.shelf.source.records
        if name is not None and not (isinstance(page, dict) and name in page):
            there = ", ".join(map(str, page)) if isinstance(page, dict) else type(page).__name__
            raise self._wrong(url, f"has no field {name!r} with records; there is: {there}", "correct `records` in the tenant's file")
        records = page[name] if name is not None else page
        if not isinstance(records, list):
            raise self._wrong(
                url, f"holds a {type(records).__name__} where records must be a list", "correct `records` in the tenant's file"
            )
        return len(records)

    def _next(self, url: str, page: Any) -> str | None:
        name = self.shelf.source.next_field
        given = page.get(name) if name is not None and isinstance(page, dict) else None
        if given is None or given == "":
            return None
        if not isinstance(given, str):
            raise self._wrong(
                url, f"names no address in {name!r} but a {type(given).__name__}", "correct `next_field` in the tenant's file"
            )
        base = urlsplit(self.connection.url)
        if given.startswith("/") and not given.startswith("//") and not given.startswith(base.path.rstrip("/") + "/"):
            given = self.connection.url.rstrip("/") + given  # a path is meant below the connection's address, as the source's location is
        following = urljoin(url, given)
        if urlsplit(following)[:2] != base[:2]:
            raise self._wrong(
                url, f"leads to {without_secrets(following)}, another host", "nothing is asked of another host: see who sends that"
            )
        return following

    def _refused(self, url: str, answer: httpx.Response) -> DeliveryError:
        what = f"answers {answer.status_code} {answer.reason_phrase}"
        if answer.is_redirect:
            return self._wrong(url, what, "put the address that it leads to into the connection")
        if answer.status_code in {401, 403}:
            return self._wrong(url, what, "correct the secret in the connection")
        return self._wrong(url, what, "compare the source's location and the connection with the service's documentation")

    def _wrong(self, url: str, what: str, next_step: str) -> DeliveryError:
        name, tenant = self.shelf.source.name, self.shelf.tenant
        connection = tenant.connection_id(self.shelf.source.connection or "")
        return DeliveryError(
            f"Source {name}: {without_secrets(url)} {what}.",
            next_step=f"{next_step[0].upper()}{next_step[1:]} (connection {connection}), then run `land` again.",
            tenant=tenant.slug,
        )


def take_api(
    shelf: Shelf, begins_on: date, day: date, marks: Mapping[str, Mark], connection: Connection, patience: Patience
) -> Iterator[Taken]:
    """Take the days, or the state of the night, that are not taken yet; yields what each batch brought.

    Reads the API; writes batches. Run again, it asks for nothing that stands, and goes on behind the last page of a run that was
    killed. Raises DeliveryError for an answer that a person must look into, SourceUnavailable when patience is at an end.
    """
    wanted = [a_day for a_day in _days(shelf, begins_on, day) if not _is_taken(shelf, a_day, marks)]
    if not wanted:
        yield Taken(is_there=True)
        return
    host = urlsplit(connection.url).hostname or ""
    headers = {"Accept": "application/json", "User-Agent": "nocturne"}
    if connection.token:
        headers["Authorization"] = f"Bearer {connection.token}"
    auth = (connection.login, connection.password or "") if connection.login else None
    # Proxies of the environment are for other hosts than this one.
    with httpx.Client(headers=headers, auth=auth, timeout=patience.timeout_seconds, trust_env=host not in _LOOPBACK) as client:
        session = _Session(shelf, connection, patience, client)
        if connection.url.startswith("http://") and host not in _LOOPBACK and (connection.token or connection.login):
            yield Taken(warnings=[f"{shelf.source.name}: {connection.url} is not encrypted; whoever carries it can read the secret"])
        for a_day in wanted:
            yield _take(session, a_day)


def _days(shelf: Shelf, begins_on: date, day: date) -> list[date]:
    if shelf.source.is_daily:
        return [begins_on + timedelta(days=count) for count in range((day - begins_on).days + 1)]
    newest = max(shelf.days(), default=day)
    return [day] if newest <= day else []  # the state of that night is gone; what is there now belongs to a later one


def _is_taken(shelf: Shelf, day: date, marks: Mapping[str, Mark]) -> bool:
    if shelf.holds(day):
        return True
    mark = marks.get(shelf.batch(day))
    same_as = mark.facts.get("same_as") if mark else None
    return same_as is not None and shelf.holds(date.fromisoformat(same_as))


def _take(session: _Session, day: date) -> Taken:
    """The batch of a day or night."""
    shelf, taken = session.shelf, Taken(is_there=True)
    first_url = f"{session.connection.url.rstrip('/')}/{shelf.source.location.replace('{day}', day.isoformat()).lstrip('/')}"
    asked = hashlib.sha256(json.dumps([first_url, shelf.source.records, shelf.source.next_field]).encode()).hexdigest()[:16]
    with shelf.taking(f"{day.isoformat()}-{asked}") as folder:
        if shelf.holds(day):  # another run took it while we waited
            return taken
        pages = _pages(session, folder, first_url)
        earlier = max((a_day for a_day in shelf.days() if a_day < day), default=None) if not shelf.source.is_daily else None
        manifest = shelf.manifest(earlier) if earlier else None
        if earlier and manifest and [file.sha256 for file in manifest.files] == [page.sha256 for page in pages]:
            taken.marks = {shelf.batch(day): Mark(manifest.fingerprint, {"received_on": day.isoformat(), "same_as": earlier.isoformat()})}
            return taken
        fresh = [Staged(page.path, page.path.name, without_secrets(page.url), page.bytes, page.sha256, page.rows) for page in pages]
        manifest = shelf.put(day, fresh)
    taken.add(manifest, fresh)
    taken.marks = {manifest.batch: Mark(manifest.fingerprint, {"received_on": day.isoformat(), "rows": sum(page.rows for page in pages)})}
    return taken


def _pages(session: _Session, folder: Path, first_url: str) -> list[_Page]:
    """All pages from `first_url` on: those that a killed run left, then those that are still missing."""
    pages = _landed(session, folder, first_url)
    resumed = len(pages)
    url = pages[-1].next_url if pages else first_url
    asked = {page.url for page in pages}
    while url is not None:
        if url in asked or len(pages) >= _MAX_PAGES:
            raise session._wrong(url, f"comes again after {len(pages)} pages", "see why its pages have no end")
        try:
            body, rows, next_url = session.get(url)
        except DeliveryError:
            if resumed == 0 or len(pages) > resumed:
                raise
            # The place where the killed run stopped may not be kept for ever: begin again, once.
            pages, asked, resumed, url = [], set(), 0, first_url
            continue
        path = folder / f"page-{len(pages) + 1:05}.json"
        size, sha256 = write(path, [body])
        pages.append(_Page(path, url, size, sha256, rows, next_url))
        asked.add(url)
        url = next_url
    return pages


def _landed(session: _Session, folder: Path, first_url: str) -> list[_Page]:
    """The pages that a killed run left, as far as they follow each other."""
    pages: list[_Page] = []
    url: str | None = first_url
    while url is not None:
        path = folder / f"page-{len(pages) + 1:05}.json"
        try:
            body = path.read_bytes()
            page = json.loads(body)
        except (FileNotFoundError, ValueError):
            break
        rows, next_url = session._rows(url, page), session._next(url, page)
        pages.append(_Page(path, url, len(body), hashlib.sha256(body).hexdigest(), rows, next_url))
        url = next_url
    return pages


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        instant = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (instant.replace(tzinfo=instant.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
