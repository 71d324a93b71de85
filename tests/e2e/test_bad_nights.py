"""What goes wrong in a night: each ends in one message that says what to do, other tenants go on, and the next run recovers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from nocturne.installation.database import EmbeddedDatabase
from nocturne.settings import Settings
from nocturne.simulator import WorldParameters
from tests.e2e.conftest import Installation

WORLD = WorldParameters(seed=23, days=5, listeners=90, artists=20, tracks=120, holders=3, time_zone="Asia/Jakarta", currency="IDR")
DAY = date(2026, 3, 5)


def delivery(settings: Settings, slug: str, dataset: str, day: date = DAY, suffix: str = "ndjson") -> Path:
    """A file of the sources that `Installation.add` writes."""
    return settings.sources_root / slug / dataset / f"{day}.{suffix}"


@pytest.fixture
def broken_tenant(installation: Installation) -> Iterator[Path]:
    path = installation.settings.tenants / "misspelled.yml"
    path.write_text("name: Misspelled\ntime_zone: Europe/Pariss\ncurrency: EUR\nbegins_on: 2026-03-01\nsources: []\n")
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.slow
def test_what_is_wrong_with_one_tenant_is_told_and_holds_no_other_up(installation: Installation, broken_tenant: Path) -> None:
    slugs = ("all_right", "missing_source", "binary_file", "missing_column")
    for slug in slugs:
        installation.add(slug, WORLD, tier="free")
    settings = installation.settings
    missing, binary = delivery(settings, "missing_source", "plays"), delivery(settings, "binary_file", "plays")
    renamed = delivery(settings, "missing_column", "payments", suffix="csv")
    whole = {path: path.read_bytes() for path in (missing, binary, renamed)}
    missing.unlink()
    binary.write_bytes(os.urandom(40_000))
    renamed.write_bytes(whole[renamed].replace(b"payment_id", b"pay_id", 1))

    said = installation.nocturne("nightly", *slugs, "--day", DAY.isoformat(), expect=1, seconds=1_200)

    facts = {tenant["tenant"]: tenant for tenant in installation.facts()["tenants"]}
    assert {slug: facts[slug]["state"] for slug in slugs} == dict.fromkeys(slugs[1:], "failed") | {"all_right": "success"}
    assert str(broken_tenant) in said
    assert "Europe/Pariss" in said
    told = {slug: " ".join(facts[slug]["failures"].values()) for slug in slugs}
    assert told["all_right"] == ""
    assert all(
        word in told["missing_source"] for word in ("Source plays has nothing for 2026-03-05", "missing_source/plays/2026-03-05", "Ask")
    )
    assert all(
        word in told["binary_file"] for word in ("2026-03-05.ndjson", "nothing that can be read as ndjson", "deliver the file again")
    )
    assert all(word in told["missing_column"] for word in ("2026-03-05.csv", "lacks the column payment_id", "pay_id"))
    for slug in slugs[1:]:
        assert "Next:" in told[slug] or "Next step" in told[slug], told[slug]

    for path, content in whole.items():
        path.write_bytes(content)
        os.utime(path, (time.time() + 5,) * 2)
    broken_tenant.unlink()
    installation.nocturne("nightly", *slugs, "--day", DAY.isoformat(), seconds=1_200)
    expected = installation.silver(installation.tenant("all_right"), without=("listener_key",))
    for slug in slugs[1:]:
        assert installation.silver(installation.tenant(slug), without=("listener_key",)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("station", ["load_bronze", "load_warehouse", "build_marts", "publish_marts"])
def test_a_night_outlives_the_end_of_postgresql(installation: Installation, station: str) -> None:
    slug = f"cut_off_{station.split('_')[1]}"
    tenant = installation.add(slug, WORLD, tier="free")
    command = [str(Path(sys.executable).parent / "nocturne"), "nightly", slug, "--day", DAY.isoformat()]
    with subprocess.Popen(command, env=installation.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        said = until(running, f"{station}: running", f"{station}: success")
        kill_postgresql(installation.settings)
        assert running.stdout is not None
        said += running.stdout.read()
    assert running.returncode == 0, said
    assert "PostgreSQL is gone: starting it again" in said
    undisturbed = installation.add("undisturbed", WORLD, tier="free")
    installation.nocturne("nightly", "undisturbed", "--day", DAY.isoformat())
    assert installation.marts_but_for_keys(tenant) == installation.marts_but_for_keys(undisturbed)


def until(running: subprocess.Popen[str], *words: str) -> str:
    """What a command prints until a line with one of the words."""
    said = ""
    assert running.stdout is not None
    for line in running.stdout:
        said += line
        if any(word in line for word in words):
            return said
    raise AssertionError(said)


def kill_postgresql(settings: Settings) -> None:
    """What the kernel does when memory is short: the postmaster ends at once, its children soon after."""
    postmaster = int((EmbeddedDatabase(settings).data_folder / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)


@pytest.mark.slow
def test_a_port_in_use_is_named(installation: Installation, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((installation.settings.host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {**installation.environment, "NOCTURNE_VAR": str(tmp_path), "NOCTURNE_POSTGRES_PORT": str(port)}
        command = [str(Path(sys.executable).parent / "nocturne"), "nightly", "whole_service"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"Port {port}" in said
    assert "NOCTURNE_POSTGRES_PORT" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_the_api_server_s_port_in_use_is_named_too(installation: Installation) -> None:
    # Another installation on the same ports: the one that runs keeps them.
    assert json.loads((installation.settings.var / "run" / "api-server.json").read_text())["pid"]
    with socket.socket() as taken:
        taken.bind((installation.settings.host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        installation.nocturne("down")
        environment = {**installation.environment, "NOCTURNE_AIRFLOW_PORT": str(port)}
        command = [str(Path(sys.executable).parent / "nocturne"), "nightly", "whole_service", "--day", DAY.isoformat()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    installation.nocturne("up")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert str(port) in said
    assert "NOCTURNE_AIRFLOW_PORT" in said
    assert "Traceback" not in said
