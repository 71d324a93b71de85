"""Sources of kind `api`: JSON over HTTP, page after page, each landed as it was received.

A page that has arrived is written at once, with a note of what follows it, and a run that was killed goes on behind the last one that it
finds. What is worth another try (no answer, half an answer, 5xx, 408, 429) is tried again after a growing, random pause, or after the
one that the server asks for, within a budget for the whole source. A source with `since` is asked for what is new alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from nocturne.asking import Increment, Offset, PageNumber
from nocturne.errors import DeliveryError, SourceUnavailable
from nocturne.landing.access import Access, NoTokenError
from nocturne.landing.batches import Shelf, Staged, Taken, write
from nocturne.landing.connections import Connection, Patience, Pauses, without_secrets
from nocturne.landing.paging import Answer, PagingError, field_of, first_address, following, with_parameter, without_parameter
from nocturne.landing.ranges import greatest, marked, not_ahead, reach, reduced
from nocturne.ledger import Mark
from nocturne.manifests import Range

_MAX_PAGES = 100_000
_MAX_PAGE_BYTES = 256_000_000
_MAX_PAGE_SECONDS = 300
# httpx writes every address at level INFO, query and all: a cursor may be a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True)
class _Page:
    """What is noted of a page that stands in the staging folder: where it came from, what follows it, the greatest value of its records."""

    url: str
    bytes: int
    sha256: str
    rows: int
    next_url: str | None
    greatest: str | None = None


@dataclass(frozen=True)
class _Got:
    """A page that has just arrived."""

    body: bytes
    rows: int
    next_url: str | None
    greatest: str | None


class _NotYetError(Exception):
    """A try that failed in a way that may pass; `pause` seconds are what the server asks for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        self.pause = pause
        super().__init__(reason)


@dataclass
class _Pace:
    """A budget of requests, spent evenly."""

    requests_per_minute: int | None
    free_at: float = 0.0

    def wait(self) -> None:
        """Wait for the next request's turn."""
        if self.requests_per_minute is None:
            return
        now = time.monotonic()
        time.sleep(max(0.0, self.free_at - now))
        self.free_at = max(now, self.free_at) + 60 / self.requests_per_minute


@dataclass
class _Session:
    """One source's turn with its server."""

    shelf: Shelf
    access: Access
    patience: Patience
    client: httpx.Client
    pace: _Pace
    pauses: Pauses

    def get(self, url: str) -> _Got:
        """The page at `url`. Raises SourceUnavailable when patience is at an end."""
        for attempt in range(1, self.patience.tries + 1):
            self.pace.wait()
            try:
                return self._try(url)
            except _NotYetError as error:
                reason, asked = str(error), error.pause
                if asked is not None:
                    reason += f", and asks for {asked:.0f} s of patience"
            if not self.pauses.before_next(attempt, asked):
                break
        raise SourceUnavailable(
            f"Source {self.shelf.source.name}: {without_secrets(url)} gave no page, asked {attempt} times: {reason}.",
            next_step="Nothing, if that server is up again soon: the task is tried again by itself, and goes on behind the last page.",
            tenant=self.shelf.tenant.slug,
        )

    def _try(self, url: str) -> _Got:
        try:
            with self.client.stream("GET", url) as answer:
                if answer.status_code >= 500 or answer.status_code in {408, 429}:
                    raise _NotYetError(f"{answer.status_code} {answer.reason_phrase}", _retry_after(answer.headers.get("Retry-After")))
                if answer.status_code != 200:
                    raise self._refused(url, answer)
                body, link = self._body(url, answer), answer.links.get("next", {}).get("url")
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _NotYetError(f"{type(error).__name__} {error}".strip()) from error
        except NoTokenError as error:
            if error.may_pass:
                raise _NotYetError(str(error), _retry_after(error.retry_after)) from error
            raise self.wrong(url, f"is not asked: {error}", "correct login, password and extra fields") from error
        except httpx.InvalidURL as error:
            raise self.wrong(url, f"is no address: {error}", "correct the connection or the source's location") from error
        try:
            page = json.loads(body)
        except ValueError as error:
            # A server that dies in the middle of an answer without a length leaves half a page that HTTP calls whole.
            raise _NotYetError(f"200 with {len(body)} bytes that are no JSON") from error
        records = self._records(url, page)
        return _Got(body, len(records), self._next(url, Answer(page, len(records), link)), self._greatest(url, records))

    def _body(self, url: str, answer: httpx.Response) -> bytes:
        chunks, size, deadline = [], 0, time.monotonic() + _MAX_PAGE_SECONDS
        for chunk in answer.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_PAGE_BYTES:
                raise self.wrong(url, f"is a page of more than {_MAX_PAGE_BYTES} bytes", "ask for smaller pages in the source's location")
            if time.monotonic() > deadline:
                raise _NotYetError(f"the page had not arrived whole after {_MAX_PAGE_SECONDS} s")
        return b"".join(chunks)

    def _records(self, url: str, page: Any) -> list[Any]:
        name = self.shelf.source.records
        records = page if name is None else field_of(page, name)
        if name is not None and records is None:
            there = ", ".join(map(str, page)) if isinstance(page, dict) else type(page).__name__
            raise self.wrong(url, f"has no field {name!r} with records; there is: {there}", "correct `records` in the tenant's file")
        if isinstance(records, dict) and self.shelf.source.lone_record:
            records = [records]
        if not isinstance(records, list):
            raise self.wrong(
                url, f"holds a {type(records).__name__} where records must be a list", "correct `records` in the tenant's file"
            )
        return records

    def _next(self, url: str, answer: Answer) -> str | None:
        try:
            given = following(self.shelf.source.paging, url, answer)
        except PagingError as error:
            raise self.wrong(url, str(error), "correct `paging` in the tenant's file") from error
        if given is None:
            return None
        base = urlsplit(self.access.url)
        if given.startswith("/") and not given.startswith("//") and not given.startswith(base.path.rstrip("/") + "/"):
            given = self.access.url.rstrip("/") + given  # a path is meant below the connection's address, as the source's location is
        next_url = urljoin(url, given)
        if self.access.key_parameter is not None:  # some services repeat our key in the addresses that they name
            next_url = without_parameter(next_url, self.access.key_parameter)
        if urlsplit(next_url)[:2] != base[:2]:
            raise self.wrong(
                url, f"leads to {without_secrets(next_url)}, another host", "nothing is asked of another host: see who sends that"
            )
        return next_url

    def _greatest(self, url: str, records: list[Any]) -> str | None:
        since = self.shelf.source.since
        if since is None or not records:
            return None
        values = [value for record in records if (value := field_of(record, since.field)) is not None]
        try:
            found = greatest(since, values)
        except ValueError:
            raise self.wrong(url, f"has a record whose {since.field} is no {since.type}", "correct `since` in the tenant's file") from None
        if found is None and not since.optional:
            raise self.wrong(url, f"has no record with a field {since.field!r}", "correct `since` in the tenant's file")
        return found

    def _refused(self, url: str, answer: httpx.Response) -> DeliveryError:
        what = f"answers {answer.status_code} {answer.reason_phrase}"
        if answer.is_redirect:
            return self.wrong(url, what, "put the address that it leads to into the connection")
        if answer.status_code in {401, 403}:
            return self.wrong(url, what, "correct the secret in the connection")
        return self.wrong(url, what, "compare the source's location and the connection with the service's documentation")

    def wrong(self, url: str, what: str, next_step: str) -> DeliveryError:
        """An error that a person must look into."""
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
    """Take the days, the state of the night or what is new, as far as that is not taken yet; yields what each batch brought.

    Reads the API; writes batches. Run again, it asks for nothing that stands, and goes on behind the last page of a run that was
    killed. Raises DeliveryError for an answer that a person must look into, SourceUnavailable when patience is at an end.
    """
    wanted = [a_day for a_day in _days(shelf, begins_on, day) if not _is_taken(shelf, a_day, marks)]
    if not wanted:
        yield Taken(is_there=True)
        return
    access = Access.of(connection, timeout_seconds=patience.timeout_seconds)
    headers = {"Accept": "application/json", "User-Agent": "nocturne"}
    # Proxies of the environment are for other hosts than this one.
    with httpx.Client(headers=headers, auth=access.auth, timeout=patience.timeout_seconds, trust_env=not access.is_here) as client:
        session = _Session(shelf, access, patience, client, _Pace(shelf.source.requests_per_minute), Pauses(patience))
        if access.is_open_to_listeners:
            yield Taken(warnings=[f"{shelf.source.name}: {access.url} is not encrypted; whoever carries it can read the secret"])
        for a_day in wanted:
            if shelf.source.since is not None:
                yield _take_new(session, a_day, shelf.source.since, marks.get(shelf.batch(a_day)))
            else:
                yield _take(session, a_day)


def _days(shelf: Shelf, begins_on: date, day: date) -> list[date]:
    if shelf.source.is_daily:
        return [begins_on + timedelta(days=count) for count in range((day - begins_on).days + 1)]
    if shelf.source.is_incremental:
        return [day]
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
    first_url = _first_url(session, day)
    with shelf.taking(_purpose(session, day, first_url)) as folder:
        if shelf.holds(day):  # another run took it while we waited
            return taken
        pages = _pages(session, folder, first_url)
        earlier = max((a_day for a_day in shelf.days() if a_day < day), default=None) if not shelf.source.is_daily else None
        manifest = shelf.manifest(earlier) if earlier else None
        if earlier and manifest and [file.sha256 for file in manifest.files] == [page.sha256 for page in pages]:
            taken.marks = {shelf.batch(day): Mark(manifest.fingerprint, {"received_on": day.isoformat(), "same_as": earlier.isoformat()})}
            return taken
        fresh = _staged(folder, pages)
        if shelf.is_refused(day, fresh, taken):
            return taken
        manifest = shelf.put(day, fresh)
    taken.add(manifest, fresh)
    taken.marks = {manifest.batch: Mark(manifest.fingerprint, {"received_on": day.isoformat(), "rows": sum(page.rows for page in pages)})}
    return taken


def _take_new(session: _Session, day: date, since: Increment, mark: Mark | None) -> Taken:
    """The batch of what is new; none if nothing is, so that the next night, or this one again, asks from the same place."""
    shelf, started = session.shelf, datetime.now(UTC)
    wanted = reach(shelf, day, mark)
    if wanted is None:
        return Taken(is_there=True)
    begin = wanted.since(since.field)
    first_url = _first_url(session, day)
    if (asked := reduced(since, begin) if begin is not None else since.start) is not None:
        first_url = with_parameter(first_url, since.parameter, asked)
    with shelf.taking(_purpose(session, day, first_url)) as folder:
        if shelf.holds(day):
            return Taken(is_there=True)
        pages = _pages(session, folder, first_url)
        found = greatest(since, [value for page in pages if (value := page.greatest) is not None] + ([begin] if begin else []))
        if found is None or all(page.greatest is None for page in pages):
            return Taken()
        until = (wanted.until or {}).get(since.field) or not_ahead(since, found, started)
        fresh = _staged(folder, pages)
        refused = Taken(is_there=True)
        if shelf.is_refused(day, fresh, refused):
            return refused
        manifest = shelf.put(day, fresh, ranges=[Range(part=since.field, since=begin, until=until)])
    taken = Taken(is_there=True, marks=marked(manifest, rows=sum(page.rows for page in pages)))
    taken.add(manifest, fresh)
    return taken


def _first_url(session: _Session, day: date) -> str:
    location = session.shelf.source.location.replace("{day}", day.isoformat()).lstrip("/")
    return first_address(session.shelf.source.paging, f"{session.access.url.rstrip('/')}/{location}")


def _purpose(session: _Session, day: date, first_url: str) -> str:
    """What pages are staged for: pages that another declaration asked for are none of ours."""
    source = session.shelf.source
    told = [first_url, source.records, source.model_dump(mode="json", include={"paging", "since"})]
    return f"{day.isoformat()}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}"


def _staged(folder: Path, pages: list[_Page]) -> list[Staged]:
    return [
        Staged(_place(folder, number), _place(folder, number).name, without_secrets(page.url), page.bytes, page.sha256, page.rows)
        for number, page in enumerate(pages, start=1)
    ]


def _pages(session: _Session, folder: Path, first_url: str) -> list[_Page]:
    """All pages from `first_url` on: those that a killed run left, then those that are still missing."""
    pages = _landed(folder, first_url)
    resumed = len(pages)
    url = pages[-1].next_url if pages else first_url
    asked = {page.url for page in pages}
    while url is not None:
        if url in asked or len(pages) >= _MAX_PAGES:
            raise session.wrong(url, f"comes again after {len(pages)} pages", "see why its pages have no end")
        try:
            got = session.get(url)
        except DeliveryError:
            if resumed == 0 or len(pages) > resumed:
                raise
            # The place where the killed run stopped may not be kept for ever: begin again, once.
            pages, asked, resumed, url = [], set(), 0, first_url
            continue
        place = _place(folder, len(pages) + 1)
        size, sha256 = write(place, [got.body])
        if _is_the_same_again(session, pages, sha256):
            raise session.wrong(url, "gives the same page again", "see whether the service knows the parameter that `paging` names")
        page = _Page(url, size, sha256, got.rows, got.next_url, got.greatest)
        write(_note(place), [json.dumps(asdict(page)).encode()])
        pages.append(page)
        asked.add(url)
        url = got.next_url
    return pages


def _is_the_same_again(session: _Session, pages: list[_Page], sha256: str) -> bool:
    """Whether a page that was asked for by a number is the one before: then the number is not heard, and pages would never end."""
    counted = isinstance(session.shelf.source.paging, (PageNumber, Offset))
    return counted and bool(pages) and pages[-1].sha256 == sha256 and pages[-1].rows > 0


def _landed(folder: Path, first_url: str) -> list[_Page]:
    """The pages that a killed run left, as far as they follow each other and are what was noted of them."""
    pages: list[_Page] = []
    url: str | None = first_url
    while url is not None:
        place = _place(folder, len(pages) + 1)
        try:
            page = _Page(**json.loads(_note(place).read_bytes()))
            body = place.read_bytes()
        except (FileNotFoundError, ValueError, TypeError):
            break
        if page.url != url or hashlib.sha256(body).hexdigest() != page.sha256:
            break
        pages.append(page)
        url = page.next_url
    return pages


def _place(folder: Path, number: int) -> Path:
    return folder / f"page-{number:05}.json"


def _note(place: Path) -> Path:
    return place.with_suffix(".note")


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
