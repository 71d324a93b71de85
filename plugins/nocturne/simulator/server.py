"""The REST API of the demo tenants' sources: what a service's billing or catalogue system would answer.

    python -m nocturne.simulator.server

    GET /health                                   {"status": "ok", "tenants": [...]}, for anybody
    GET /<slug>/<dataset>?day=2026-03-14          events: what arrived on that day; reference datasets: what stood on that day
    GET /<slug>/<dataset>                         reference datasets: what stands on the world's last day

Pages are JSON, `{"records": [...], "next": "/<slug>/<dataset>?day=...&page=2" or null}` unless the tenant's source says otherwise, in the
columns that the tenant's source maps; a dataset without such a source comes in the catalogue's columns. Every answer but /health needs the
bearer token of its tenant. Worlds are made when they are first asked for, in about a second; nothing is stored.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import date
from threading import Lock
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Query, Response

from nocturne.asking import NextUrl
from nocturne.datasets import DATASETS
from nocturne.errors import NocturneError
from nocturne.settings import Settings, load_settings
from nocturne.simulator.foreign import foreign
from nocturne.simulator.parameters import WorldParameters, demo_worlds
from nocturne.simulator.world import Delivery, World
from nocturne.simulator.writing import page as json_page
from nocturne.simulator.writing import records, typed
from nocturne.tenants import Source, Tenant, load_tenants

PAGE_ROWS = 1_000
_KEPT = 16


class _Shop:
    """One tenant's world behind the counter; one question at a time."""

    def __init__(self, tenant: Tenant, parameters: WorldParameters) -> None:
        self.tenant, self.parameters = tenant, parameters
        self._lock = Lock()
        self._world: World | None = None
        self._answers: OrderedDict[tuple[str, date | None], list[bytes]] = OrderedDict()

    def source(self, dataset: str) -> Source:
        """The source that declares how this dataset is served."""
        declared = [source for source in self.tenant.sources_of(dataset) if source.kind == "api"]
        plain = Source(
            name=dataset,
            dataset=dataset,
            kind="api",
            connection="demo",
            location=dataset,
            format="json",
            records="records",
            paging=NextUrl(kind="next_url", field="next"),
        )
        return declared[0] if declared else plain

    def rows(self, dataset: str, day: date | None) -> Sequence[bytes]:
        """All records of an answer. Raises KeyError for a dataset that this world does not have."""
        with self._lock:
            asked = (dataset, day)
            if asked not in self._answers:
                self._answers[asked] = self._make(dataset, day)
                while len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
            self._answers.move_to_end(asked)
            return self._answers[asked]

    def _make(self, dataset: str, day: date | None) -> list[bytes]:
        if self._world is None:
            self._world = World(self.parameters)
        if DATASETS[dataset].kind == "event":
            delivery = self._world.delivered(dataset, day or self.parameters.last_day)
        else:
            rows = self._world.reference(dataset, min(day or self.parameters.last_day, self.parameters.last_day))
            delivery = Delivery(rows, {})
        return records(typed(foreign(self.tenant, self.source(dataset)), delivery))


def create_app(settings: Settings, worlds: Mapping[str, WorldParameters] | None = None, *, page_rows: int = PAGE_ROWS) -> FastAPI:
    """The application, for the tenants that have one of `worlds` (default: the demo's). Reads the tenants' files once; writes nothing."""
    tenants = load_tenants(settings.tenants).tenants
    made = demo_worlds() if worlds is None else worlds
    shops = {slug: _Shop(tenants[slug], parameters) for slug, parameters in made.items() if slug in tenants}
    app = FastAPI(title="Demo sources", openapi_url=None)

    @app.get("/health")
    def health() -> dict[str, object]:
        """Whether the server answers, and for whom."""
        return {"status": "ok", "tenants": sorted(shops)}

    @app.get("/{slug}/{dataset}")
    def records_of(
        slug: str,
        dataset: str,
        day: date | None = None,
        page: Annotated[int, Query(ge=1)] = 1,
        authorization: Annotated[str, Header()] = "",
    ) -> Response:
        """One page of a dataset."""
        if not _may(settings, slug, authorization):
            raise HTTPException(401, "The bearer token of this tenant is missing or wrong.", {"WWW-Authenticate": "Bearer"})
        if slug not in shops or dataset not in DATASETS:
            raise HTTPException(404, f"There is no {slug}/{dataset}.")
        if day is None and DATASETS[dataset].kind == "event":
            raise HTTPException(400, f"{dataset} are events: ask for a day (?day=2026-03-01).")
        try:
            rows = shops[slug].rows(dataset, day)
        except KeyError as error:
            raise HTTPException(404, str(error.args[0])) from error
        except NocturneError as error:
            raise HTTPException(501, str(error)) from error
        part = rows[(page - 1) * page_rows : page * page_rows]
        asked = "" if day is None else f"day={day}&"
        following = f"/{slug}/{dataset}?{asked}page={page + 1}" if page * page_rows < len(rows) else None
        return Response(json_page(part, shops[slug].source(dataset), following), media_type="application/json")

    return app


def token(settings: Settings, slug: str) -> str:
    """The bearer token of a tenant's demo API."""
    return settings.derive("demo api", slug).hex()


def _may(settings: Settings, slug: str, authorization: str) -> bool:
    return hmac.compare_digest(authorization.encode(), f"Bearer {token(settings, slug)}".encode())


def main() -> None:
    """Serve on the installation's demo port until the process is ended."""
    import uvicorn

    settings = load_settings()
    uvicorn.run(create_app(settings), host=settings.host, port=settings.demo_port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
