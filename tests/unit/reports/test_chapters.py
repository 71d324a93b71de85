"""What a report says, and what it keeps silent about."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.report_marts import tenant_of
from nocturne.quality import Result, TableDay
from nocturne.reports.chapters import compose
from nocturne.reports.chapters.audience import grouped
from nocturne.reports.document import Chart, Document, Findings, KeyFigure, KeyFigures, Link, Notes, Table
from nocturne.reports.material import Outcome
from nocturne.tenants import Tenant
from tests.unit.reports.rows import DAY, activity, bridge_days, deliveries, made, said


def figures(document: Document) -> dict[str, KeyFigure]:
    return {figure.name: figure for block in document.cover if isinstance(block, KeyFigures) for figure in block.figures}


def pages(document: Document) -> list[str]:
    return [page.name for page in document.pages]


def tables(document: Document, page: str) -> dict[str, Table]:
    blocks = next(each.blocks for each in document.pages if each.name == page)
    return {block.title: block for block in blocks if isinstance(block, Table)}


def notes(document: Document, page: str) -> list[tuple[str, str]]:
    blocks = next(each.blocks for each in document.pages if each.name == page)
    return [(block.tone, text) for block in blocks if isinstance(block, Notes) for text in block.texts]


def insight(rank: int, text: str) -> dict[str, Any]:
    return {"rank": rank, "severity": "high", "metric": "stream_count", "text": text}


def test_a_tenant_without_anything_has_a_cover_and_a_stamp_and_no_page(tenant: Tenant) -> None:
    document = compose(tenant, made(marts_day=None))
    assert (document.cover, document.pages) == ((), ())
    assert document.stamps == ("No listening data has been published yet",)


def test_each_subject_brings_its_page_and_no_other(tenant: Tenant) -> None:
    assert pages(compose(tenant, made(activity=activity()))) == ["listening", "audience", "definitions"]
    assert pages(compose(tenant, made(subscriptions=bridge_days()))) == ["subscriptions", "definitions"]
    assert pages(compose(tenant, made(reconciliation=deliveries()))) == ["data", "definitions"]


def test_a_week_is_compared_with_the_week_before_it(tenant: Tenant) -> None:
    found = figures(compose(tenant, made(activity=activity())))
    streams, skips = found["streams"], found["skip_rate"]
    assert (streams.value, streams.change, streams.tone) == ("7\u202f000", "+25.0\u202f%", "good")
    assert (skips.change, skips.tone) == ("−5.0\u00a0points", "good")
    assert streams.is_provisional
    assert len(streams.spark) == 28


def test_without_two_full_weeks_nothing_is_compared(tenant: Tenant) -> None:
    streams = figures(compose(tenant, made(activity=activity(days=13))))["streams"]
    assert (streams.value, streams.change, streams.tone) == ("7\u202f000", "–", "neutral")


def test_a_final_week_is_not_called_provisional(tenant: Tenant) -> None:
    document = compose(tenant, made(activity=activity(is_final=True)))
    assert not figures(document)["streams"].is_provisional
    assert tables(document, "listening")["The last 14 days"].note == ""


def test_what_the_source_does_not_say_is_left_out_and_never_0(tenant: Tenant) -> None:
    document = compose(tenant, made(activity=activity(skip_ratio=None, stickiness_ratio=None)))
    assert "skip_rate" not in figures(document)
    assert "Skipped" not in [column.title for column in tables(document, "listening")["The last 14 days"].columns]
    assert "stickiness" not in [chart.name for chart in document.charts()]


def test_old_marts_are_stamped(tenant: Tenant) -> None:
    old = DAY - timedelta(days=2)
    rows = [row for row in activity() if row["played_on"] <= old]
    document = compose(tenant, made(marts_day=old, activity=rows))
    assert document.stamps == ("Not updated since 27\u00a0Feb\u00a02026",)


def test_that_publishing_is_held_stands_first(tenant: Tenant) -> None:
    outcomes = (Outcome("build_marts", "done", None, ("slow",)), Outcome("publish_marts", "done", None, ("Publishing is held since then",)))
    document = compose(tenant, replace(made(activity=activity()), outcomes=outcomes))
    assert document.cover[0] == Notes("", ("Publishing is held since then",), "bad")
    assert not any(isinstance(block, Notes) for block in compose(tenant, made(activity=activity())).cover)


def test_the_score_of_every_table_stands_beside_what_was_quarantined(tenant: Tenant) -> None:
    passed = Result("rows", "every_dataset.yml:4", "stop", "passed", "Because.", 1)
    warned = replace(passed, check="skew", severity="warn", outcome="failed", failing=1, observed="skew is 0.4")
    days = [
        TableDay("bronze", "plays", DAY - timedelta(days=1), (passed,), {"rows": 100, "quarantined": 0}),
        TableDay("bronze", "plays", DAY, (passed, warned), {"rows": 200, "quarantined": 3}),
        TableDay("sums", "plays", DAY, (passed,), {"delivered": 300}),
        TableDay("marts", "track_days", DAY, (passed,), {"rows": 9}),
    ]
    document = compose(tenant, replace(made(), quality=tuple(days)))
    shown = tables(document, "data")["Quality of each table"].rows
    assert [[cell.replace("\u202f", "") for cell in row] for row in shown] == [
        ["plays (delivered)", str(DAY), "83.3%", "91.7%", "1.50%", "skew: skew is 0.4"],
        ["track_days", str(DAY), "100.0%", "100.0%", "–", "all"],
    ]
    (page,) = [page for page in document.pages if page.name == "data"]
    notes = [block for block in page.blocks if isinstance(block, Notes)]
    assert [note.tone for note in notes] == ["good"]
    assert "on 1 of 1 nights" in notes[0].texts[0]
    assert page.blocks[-1] == Link("Every check of every table, and the rows that failed it", "../quality/index.html")
    lost = replace(passed, outcome="failed", failing=1, observed="1 missing")
    document = compose(tenant, replace(made(), quality=(*days, TableDay("sums", "tracks", DAY, (lost,), {}))))
    (page,) = [page for page in document.pages if page.name == "data"]
    assert [(block.tone, block.texts[-1]) for block in page.blocks if isinstance(block, Notes)] == [("bad", f"tracks, {DAY}: 1 missing.")]


def test_few_findings_stand_on_the_cover_and_many_have_a_page(tenant: Tenant) -> None:
    few = compose(tenant, made(insights=[insight(rank, f"finding {rank}") for rank in range(1, 5)]))
    many = compose(tenant, made(insights=[insight(rank, f"finding {rank}") for rank in range(1, 9)]))
    assert "changes" not in pages(few)
    assert pages(many)[0] == "changes"
    headlines = next(block for block in many.cover if isinstance(block, Findings))
    assert [finding.text for finding in headlines.findings] == [f"finding {rank}" for rank in range(1, 4)]


def test_the_bridge_of_weeks_adds_up(tenant: Tenant) -> None:
    document = compose(tenant, made(subscriptions=bridge_days()))
    first, second = tables(document, "subscriptions")["The bridge week by week"].rows
    assert [cell.replace("\u202f", "").replace("\u00a0", "") for cell in first] == [
        "2026-03-01", "€1049", "€70.00", "€0.00", "€0.00", "€0.00", "€21.00", "€1098"
    ]  # fmt: skip
    assert first[1] == second[-1]


def test_the_first_day_has_a_report_without_comparisons_and_empty_tables(tenant: Tenant) -> None:
    document = compose(tenant, made(activity=activity(days=1), subscriptions=bridge_days(days=1)))
    assert {figure.change for figure in figures(document).values()} == {"–"}
    assert all(table.rows for page in document.pages for table in tables(document, page.name).values())


def test_groups_too_small_to_hide_a_person_are_counted_together() -> None:
    rows = tuple({"country": country, "channel": None, "active_count": count} for country, count in (("FR", 50), ("DE", 7), ("IS", 3)))
    bars = grouped(rows, "country")
    # 3 left over would still be a small group, so the next larger one joins it
    assert [(bar.label, bar.value) for bar in bars] == [("FR", 50), ("other, not known", 10)]
    assert grouped(({"country": "IS", "active_count": 3},), "country") == []
    assert [bar.label for bar in grouped(({"country": "FR", "active_count": 9},), "country")] == ["FR"]


def test_an_immature_week_has_no_cell(tenant: Tenant) -> None:
    cohort = date(2026, 2, 16)
    rows = [
        {"cohort_on": cohort, "week": week, "listener_count": 10, "retained_count": kept, "retention_ratio": ratio}
        for week, kept, ratio in ((0, 10, 1.0), (1, 4, 0.4), (2, None, None))
    ]
    chart = next(chart for chart in compose(tenant, made(retention=rows)).charts() if chart.name == "retention")
    assert chart.figure["data"][0]["z"] == [[0.4]]


def test_a_market_share_is_said_only_by_who_sees_the_market(tmp_path: Path) -> None:
    holder = {"holder_id": "h1", "holder_name": "Holder", "stream_count": Decimal(5), "part_ratio": Decimal("0.5")}
    nobody = {"holder_id": "(unassigned)", "holder_name": None, "stream_count": Decimal(5), "part_ratio": Decimal("0.5")}
    for sees, title in ((False, "Part of the streams seen"), (True, "Market share, 28 days")):
        tenant = tenant_of(tmp_path, "label", sees_whole_market=sees)
        rows = [row | {"is_market_share": sees} for row in (holder, nobody)]
        document = compose(tenant, made(holders=rows))
        table = tables(document, "royalties")["Rights holders"]
        assert [column.title for column in table.columns][-1] == title
        assert [row[0] for row in table.rows] == ["Holder", "held by nobody known"]
        lead = next(page.lead for page in document.pages if page.name == "royalties")
        assert ("cannot be said" in lead) is not sees


def test_small_services_are_one_layer_and_nothing_is_lost(tenant: Tenant) -> None:
    month = date(2026, 1, 1)
    rows = [{"month": month, "service": f"S{place}", "stream_count": 100, "net_amount": Decimal(10 - place)} for place in range(9)]
    chart = next(chart for chart in compose(tenant, made(statements=rows)).charts() if chart.name == "royalties")
    layers = {trace["name"]: trace["y"][0] for trace in chart.figure["data"]}
    assert list(layers) == ["S0", "S1", "S2", "S3", "S4", "other"]
    assert sum(layers.values()) == sum(10 - place for place in range(9))


def test_rows_that_do_not_add_up_are_said_first(tenant: Tenant) -> None:
    right = compose(tenant, made(reconciliation=deliveries()))
    wrong = compose(tenant, made(reconciliation=deliveries(difference_count=-7)))
    assert notes(right, "data") == [("good", "All 1\u202f000 rows landed in 28 days add up.")]
    assert notes(wrong, "data") == [("bad", "7 rows do not add up: see the tables.")]
    assert tables(wrong, "data")["The last delivery of each dataset"].rows[0][-1] == "−7"


def test_a_delivery_that_waits_at_its_gate_is_named(tenant: Tenant) -> None:
    document = compose(tenant, made(reconciliation=deliveries(held_batch_count=2, valid_count=0, quarantined_count=0)))
    assert ("bad", "2 deliveries have not passed their gate: none of their rows is in any number here.") in notes(document, "data")


def test_the_night_tells_failures_and_warnings(tenant: Tenant) -> None:
    outcomes = (said("land"), said("gate_bronze", "late", "small"), said("predict", error="no model\nTraceback"))
    document = compose(tenant, replace(made(reconciliation=deliveries()), outcomes=outcomes))
    assert tables(document, "data")["The night, station by station"].rows == (
        ("land", "done", "–"),
        ("gate_bronze", "done", "late; small"),
        ("predict", "failed", "no model"),
    )


def test_drift_is_put_into_words(tenant: Tenant) -> None:
    champions = [
        {"problem": problem, "version": "3", "answered_on": DAY, "feature": "streams_28d", "drift_index": index}
        for problem, index in (("churn", 0.31), ("forecast", 0.05), ("genre", None))
    ]
    rows = tables(compose(tenant, made(champions=champions)), "models")["Champions in force"].rows
    assert [row[3].split(" (")[0] for row in rows] == ["train again", "none", "not measured: too few rows"]


def test_every_chart_of_a_report_has_its_own_name_and_says_what_it_shows(tenant: Tenant) -> None:
    document = compose(tenant, made(activity=activity(), subscriptions=bridge_days(), reconciliation=deliveries()))
    names = [chart.name for chart in document.charts()]
    assert len(names) == len(set(names)) > 5
    assert all(isinstance(chart, Chart) and len(chart.description) > 20 for chart in document.charts())
