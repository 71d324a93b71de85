"""What the tests of landing share: a server, and files that sources deliver."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from nocturne.settings import Settings
from tests.integration.landing.delivering import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port."""
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def deliver(settings: Settings) -> Callable[..., None]:
    """Puts a file where sources deliver."""

    def put(path: str, content: str | bytes) -> None:
        place = settings.sources_root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)

    return put
