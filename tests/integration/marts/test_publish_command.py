"""What is published, from the terminal: listed, taken back, held and released, under the tenant's lease and in its ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nocturne.cli import main
from nocturne.ledger import Ledger
from nocturne.tenants import Tenant
from tests.integration.marts.keeping import Kept
from tests.integration.marts.test_publish import DAY, SMALL, attempt, fill
from tests.integration.marts.world import World, make_tenant
from tests.killing import environment

FILE = """\
name: Publishing
time_zone: Europe/Paris
currency: EUR
begins_on: 2026-01-01
sources:
"""


@pytest.fixture(scope="module")
def published(new_world: Callable[[Tenant], World]) -> Kept:
    made = new_world(make_tenant("publishing", SMALL))
    fill(made)
    made.night(DAY)
    return Kept.of(made)


@pytest.fixture
def world(published: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = published.again()
    sources = "".join(f'  - {{name: {one}, dataset: {one}, kind: files, location: "{one}/{{day}}.ndjson"}}\n' for one in SMALL)
    (tmp_path / "publishing.yml").write_text(FILE + sources)
    for name, value in environment(made.settings).items():
        if name.startswith("NOCTURNE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("NOCTURNE_TENANTS", str(tmp_path))
    return made


def test_a_publish_is_taken_back_from_the_terminal(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.contents()
    world.add("plays", attempt("late", "l1", "2026-01-03T20:00"))
    world.night(DAY)
    after = world.contents()

    assert main(["publish", "rollback", "publishing", "--reason", "the plays were wrong"]) == 0
    assert "held until `nocturne publish release publishing`" in capsys.readouterr().out
    assert world.contents() == before

    assert main(["publish", "list", "publishing"]) == 0
    listed = capsys.readouterr().out
    rows = [line.split()[:2] for line in listed.splitlines()[2:5]]
    assert rows == [["3", "rollback"], ["2", "publish"], ["1", "publish"]]
    assert "the plays were wrong" in listed
    assert "Publishing is held since" in listed

    assert main(["publish", "rollback", "publishing", "--to", "2", "--reason", "it was right"]) == 0
    assert world.contents() == after
    assert main(["publish", "release", "publishing"]) == 0
    capsys.readouterr()
    assert main(["publish", "list", "publishing", "--count", "1"]) == 0
    assert "Publishing is not held." in capsys.readouterr().out

    day = world.tenant.business_day(datetime.now(UTC))
    assert Ledger(world.settings).receipts("publishing", day)["steer_marts"].outcome == "done"


def test_what_cannot_be_taken_back_is_told_without_a_traceback(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "rollback", "publishing", "--to", "9", "--reason", "the plays were wrong"]) == 1
    assert "There is no publish 9" in capsys.readouterr().err
    with Ledger(world.settings).holding(world.tenant, "a night"):
        assert main(["publish", "hold", "publishing", "--reason", "somebody looks at it"]) == 1
    assert "a night is changing this tenant" in capsys.readouterr().err
    Ledger(world.settings).release(world.tenant, "a night")
