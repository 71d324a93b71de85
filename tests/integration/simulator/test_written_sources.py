"""Files on disk: the same bytes from every process, nothing half written, nothing written twice; and the server as a process."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import httpx
import pytest

from nocturne.errors import TenantError
from nocturne.settings import PROJECT
from nocturne.simulator import World, small_world, write_sources
from nocturne.simulator.server import token
from nocturne.tenants import Tenant
from tests.conftest import free_ports

SOURCES = [
    {"name": "plays", "dataset": "plays", "kind": "files", "location": "plays/{day}/part-*.ndjson.gz"},
    {"name": "trends", "dataset": "plays", "kind": "files", "format": "parquet", "location": "trends/{day}.parquet"},
    {"name": "tracks", "dataset": "tracks", "kind": "files", "format": "csv", "location": "tracks/{day}.csv"},
    {"name": "plans", "dataset": "plans", "kind": "files", "format": "json", "records": "rows", "location": "plans.json"},
    {"name": "payments", "dataset": "payments", "kind": "files", "format": "csv", "location": "payments.csv"},
]
TENANT = Tenant.model_validate(
    {"slug": "shop", "name": "S", "time_zone": "Europe/Paris", "currency": "EUR", "begins_on": "2026-03-01", "sources": SOURCES}
)
DAYS = 12
SCRIPT = f"""
import sys
from pathlib import Path
from nocturne.simulator import small_world, write_sources
from nocturne.tenants import Tenant
tenant = Tenant.model_validate_json(sys.argv[1])
write_sources(tenant, small_world(days={DAYS}, damage={{"broken": 0.02}}), Path(sys.argv[2]), threads=int(sys.argv[3]))
"""


def world() -> World:
    return small_world(days=DAYS, damage={"broken": 0.02})


def contents(root: Path) -> dict[str, str]:
    """Every file that a source could take, and its digest."""
    files = (path for path in root.rglob("*") if path.is_file() and ".simulator" not in path.parts)
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def writer(root: Path, threads: int = 2, **environment: str) -> subprocess.Popen[bytes]:
    """A process that writes the world below `root`."""
    command = [sys.executable, "-c", SCRIPT, TENANT.model_dump_json(by_alias=True), str(root), str(threads)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(PROJECT / "plugins")} | environment)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    write_sources(TENANT, world(), root)
    return root


def test_another_process_writes_the_same_bytes(written: Path, tmp_path: Path) -> None:
    process = writer(tmp_path, threads=1, PYTHONHASHSEED="77")
    assert process.wait(60) == 0
    assert contents(tmp_path) == contents(written)
    assert len(contents(written)) == 2 * DAYS + 3  # a day without a new track has no file of tracks


def test_a_second_run_writes_nothing(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    result = write_sources(TENANT, world(), written)
    assert (result.files, result.rows) == (0, 0)
    assert result.kept == 3 * DAYS + 2
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


def test_a_file_that_is_gone_or_cut_is_written_again(written: Path) -> None:
    before = contents(written)
    gone, cut = written / "plays/2026-03-04/part-0.ndjson.gz", written / "trends/2026-03-05.parquet"
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    assert write_sources(TENANT, world(), written).files == 2
    assert contents(written) == before


def test_a_killed_run_leaves_whole_files_and_the_next_one_finishes(written: Path, tmp_path: Path) -> None:
    whole = contents(written)
    process = writer(tmp_path)
    deadline = time.monotonic() + 60
    while process.poll() is None and not any(tmp_path.rglob("*.parquet")):
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    there = {name: digest for name, digest in contents(tmp_path).items() if not Path(name).name.startswith(".")}
    assert there.items() < whole.items()
    write_sources(TENANT, world(), tmp_path)
    assert {name: digest for name, digest in contents(tmp_path).items() if not Path(name).name.startswith(".")} == whole


def test_days_and_the_last_one_can_be_chosen(tmp_path: Path) -> None:
    write_sources(TENANT, world(), tmp_path, up_to=date(2026, 3, 4), days=[date(2026, 3, 3), date(2026, 3, 4), date(2026, 3, 9)])
    assert sorted(path.parent.name for path in (tmp_path / "plays").rglob("*.gz")) == ["2026-03-03", "2026-03-04"]
    grown = write_sources(TENANT, world(), tmp_path, up_to=date(2026, 3, 6))
    assert sorted(path.parent.name for path in (tmp_path / "plays").rglob("*.gz")) == [f"2026-03-0{day}" for day in range(1, 7)]
    assert grown.kept >= 4


def test_two_sources_share_a_log_only_as_lines(tmp_path: Path) -> None:
    shared = [
        {"name": "plays", "dataset": "plays", "kind": "files", "location": "log/{day}"},
        {"name": "actions", "dataset": "interactions", "kind": "files", "location": "log/{day}"},
    ]
    document = TENANT.model_dump(mode="json", exclude={"sources", "rules", "time_zone"}) | {"time_zone": "Europe/Paris"}
    log = Tenant.model_validate(document | {"sources": shared})
    days = [date(2026, 3, 2)]
    result = write_sources(log, world(), tmp_path, days=days)
    assert result.rows == len(world().delivered("plays", days[0])) + len(world().delivered("interactions", days[0]))
    assert len((tmp_path / "log/2026-03-02").read_bytes().splitlines()) == result.rows
    csv = Tenant.model_validate(document | {"sources": [source | {"format": "csv"} for source in shared]})
    with pytest.raises(TenantError, match="share log"):
        write_sources(csv, world(), tmp_path, days=days)


def test_the_server_is_up_in_seconds_and_ends_when_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT / "plugins"),
        "NOCTURNE_VAR": str(tmp_path),
        "NOCTURNE_DEMO_PORT": str(port),
        "NOCTURNE_MASTER_KEY": "5a" * 32,
    }
    process = subprocess.Popen([sys.executable, "-m", "nocturne.simulator.server"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            deadline = time.monotonic() + 30
            while True:
                try:
                    health = client.get("/health")
                    break
                except httpx.TransportError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.05)
            slug = health.json()["tenants"][0]
            assert client.get(f"/{slug}/tracks").status_code == 401
            from nocturne.settings import load_settings

            bearer = token(load_settings(var=tmp_path, master_key="5a" * 32), slug)
            answer = client.get(f"/{slug}/tracks", headers={"Authorization": f"Bearer {bearer}"})
            assert answer.status_code == 200 and answer.json()["records"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) in (0, -signal.SIGTERM)
