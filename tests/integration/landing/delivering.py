"""A tenant with the sources that a test names, and a real HTTP server that answers as a test says."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nocturne.landing import Connection
from nocturne.tenants import Tenant

DAY = date(2026, 3, 29)
TOKEN = "open-sesame"


def tenant_of(*sources: dict[str, Any], begins_on: date = DAY) -> Tenant:
    """A tenant of these sources; each delivers plays from files unless it says otherwise."""
    given = {"name": "plays", "dataset": "plays", "kind": "files", "location": "plays/{day}/*"}
    return Tenant.model_validate(
        {
            "slug": "dusk",
            "name": "Dusk",
            "time_zone": "Europe/Paris",
            "currency": "EUR",
            "begins_on": begins_on,
            "sources": [given | source for source in sources],
        }
    )


@dataclass(frozen=True)
class Answer:
    """What the server says to one request. `promises`: the Content-Length, if it shall lie."""

    body: bytes = b"[]"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    promises: int | None = None


def page(rows: list[Any], following: str | None = None) -> Answer:
    """A page of `rows` that names the one that follows."""
    return Answer(json.dumps({"data": rows, "next": following}).encode())


class Server:
    """Answers each path with its answers in turn, the last one again and again, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.posted: list[str] = []
        self.arrived = threading.Event()
        self.silent_at: str | None = None
        self._go_on = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def says(self, path: str, *answers: Answer) -> None:
        """From now on, `path` is answered so."""
        self.answers[path] = list(answers)

    def connection(self, _: str) -> Connection:
        """The connection that leads here."""
        return Connection.from_uri(f"http://:{TOKEN}@127.0.0.1:{self._http.server_port}")

    def speak(self) -> None:
        """Answer what was kept waiting."""
        self.silent_at = None
        self._go_on.set()

    def stop(self) -> None:
        """End it."""
        self.speak()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _answer(self, path: str) -> Answer:
        queue = self.answers.get(path) or [Answer(b"no such page", 404)]
        return queue.pop(0) if len(queue) > 1 else queue[0]

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.do_GET()

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.headers.append(dict(self.headers))
                if self.path == server.silent_at:
                    server.arrived.set()
                    server._go_on.wait(30)
                answer = server._answer(self.path)
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(answer.promises or len(answer.body)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(answer.body)
                except OSError:
                    pass  # the client is gone: that is what some tests are about
                self.close_connection = answer.promises is not None

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
