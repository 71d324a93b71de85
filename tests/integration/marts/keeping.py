"""Worlds as they once were, to be brought back: reading them back takes less time than the nights that made them."""

from __future__ import annotations

import subprocess
from copy import deepcopy
from dataclasses import dataclass

from nocturne.installation.database import EmbeddedDatabase
from nocturne.ledger import MemoryMarks
from nocturne.postgres import SQL, Identifier, connect
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.marts.world import Row, World


@dataclass(frozen=True)
class Kept:
    """A world of some moment: its silver, what was loaded of it, and its schemas as a script that makes them."""

    tenant: Tenant
    settings: Settings
    silver: tuple[dict[str, list[Row]], MemoryMarks, dict[str, dict[str, list[Row]]]]
    script: str

    @classmethod
    def of(cls, world: World) -> Kept:
        """The world as it is now."""
        schemas = [f"--schema={name}" for name in world.tenant.schemas]
        script = _run(world.settings, "pg_dump", *schemas, script=None)
        return cls(world.tenant, world.settings, deepcopy((world.rows, world.marks, world._loaded)), script)

    def again(self) -> World:
        """The world as it was then; whatever was done to it since is gone."""
        with connect(self.settings) as connection:
            for name in self.tenant.schemas:
                connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(name)))
        _run(self.settings, "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null", script=self.script)
        return World(self.tenant, self.settings, *deepcopy(self.silver))


def _run(settings: Settings, program: str, *arguments: str, script: str | None) -> str:
    where = {
        "PGHOST": settings.postgres_address,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": settings.postgres_user,
        "PGPASSWORD": settings.password(settings.postgres_user),
        "PGDATABASE": "nocturne",
    }
    command = [str(EmbeddedDatabase(settings).programs() / program), *arguments]
    return subprocess.run(command, env=where, input=script, capture_output=True, text=True, check=True, timeout=60).stdout
