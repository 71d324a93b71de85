"""The quality pages: what failed stands first, every check has its result, nothing of a person, and nothing is written twice."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nocturne.errors import GateFailed
from nocturne.ledger import MemoryMarks
from nocturne.quality import Judgement, Result
from nocturne.reports.quality import write_quality
from nocturne.settings import Settings
from tests.integration.gates.test_gate_bronze import FIRST, TENANT, Bronze, plays

DAY = date(2026, 3, 10)
PASSED = Result("expect_unique(play_id)", "expectations/bronze/plays.yml:9", "stop", "passed", "One row a play.", 100)
FAILED = replace(
    PASSED, check="expect_words(country)", outcome="failed", failing=7, observed="7 of 100 rows fail", why="<b>Codes</b> alone.",
    samples=("a.ndjson:3",), extract=("a.ndjson:3: country = France",),
)  # fmt: skip
MUTED = replace(
    FAILED, check="expect_words(platform)", outcome="muted", observed="9 of 100 rows fail; muted until 2026-04-01: They mend it."
)


class Text(HTMLParser):
    """Texts and links of a page, and whether all that was opened was closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]
        if tag not in {"meta", "br", "input", "polyline"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "polyline":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def judged(ledger: MemoryMarks, *results: Result, day: date = DAY, table: str = "plays") -> None:
    ledger.judge(TENANT, [Judgement("bronze", table, day, f"app/{day}", results, {"rows": 100})])


def pages(settings: Settings) -> dict[str, str]:
    return {path.name: path.read_text() for path in (settings.reports_root / TENANT.slug / "quality").iterdir()}


@pytest.fixture
def ledger() -> MemoryMarks:
    made = MemoryMarks()
    for back in range(10, 0, -1):
        judged(made, PASSED, replace(FAILED, outcome="passed", failing=0, observed="", samples=(), extract=()), day=DAY - timedelta(back))
    judged(made, PASSED, FAILED, MUTED)
    judged(made, PASSED, table="tracks")
    made.judge(TENANT, [Judgement("sums", "plays", DAY, "sums", (PASSED,), {"delivered": 100, "silver": 93})])
    made.mark(TENANT, "quarantine", "plays", {})
    return made


def test_what_failed_stands_on_the_first_page_and_every_check_on_its_tables(settings: Settings, ledger: MemoryMarks) -> None:
    assert write_quality(TENANT, DAY, settings, ledger) == 4
    found = pages(settings)
    index = Text(found["index.html"])
    said = " ".join(index.texts)
    assert set(index.links) == {"bronze-plays.html", "bronze-tracks.html", "sums-plays.html"} == found.keys() - {"index.html"}
    assert re.search(r"1\s+open incidents", said)
    assert "2 of 3" in said
    assert "expect_words(country)" in said
    assert "7 of 100 rows fail" in said
    assert "muted until 2026-04-01" in said
    assert TENANT.owner in said
    plays = Text(found["bronze-plays.html"])
    told = " ".join(plays.texts)
    assert all(text in told for text in ("expect_unique(play_id)", "a.ndjson:3: country = France", "expectations/bronze/plays.yml:9"))
    assert "<b>Codes</b>" in told  # as text
    assert told.count("2026-03-10") >= 3
    assert index.open == plays.open == []


def test_pages_load_nothing_from_elsewhere(settings: Settings, ledger: MemoryMarks) -> None:
    write_quality(TENANT, DAY, settings, ledger)
    for page in pages(settings).values():
        assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)


def test_the_same_judgements_are_not_written_twice(settings: Settings, ledger: MemoryMarks) -> None:
    write_quality(TENANT, DAY, settings, ledger)
    assert write_quality(TENANT, DAY, settings, ledger) == 0
    judged(ledger, PASSED)
    assert write_quality(TENANT, DAY, settings, ledger) == 4
    assert "over" in pages(settings)["index.html"] or "No check failed" in pages(settings)["index.html"]


def test_a_tenant_that_no_gate_has_judged_has_no_pages(settings: Settings) -> None:
    assert write_quality(TENANT, DAY, settings, MemoryMarks()) == 0
    assert not Path(settings.reports_root / TENANT.slug / "quality").exists()


def test_rows_that_fail_are_shown_without_what_knows_of_a_person(settings: Settings) -> None:
    bronze = Bronze(settings)
    strange = plays(
        FIRST, country=lambda n: "ann@example.org" if n == 0 else "France", listener_id=lambda n: f"secret-{n}" if n < 30 else None
    )
    bronze.load("plays", "app", FIRST, strange)
    with pytest.raises(GateFailed):
        bronze.gate()
    write_quality(TENANT, FIRST, settings, bronze.marks)
    page = " ".join(Text(pages(settings)["bronze-plays.html"]).texts)
    assert "part-1.ndjson:2: country = France" in page
    assert "part-1.ndjson:1: country = (not shown)" in page
    assert "rows part-1.ndjson:31, part-1.ndjson:32, part-1.ndjson:33" in page  # of listeners, places alone
    assert "secret" not in page
    assert "ann@" not in page
