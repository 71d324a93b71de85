"""Which changes are told, what explains them, and which of them are the same thing seen twice."""

from __future__ import annotations

from datetime import date

from nocturne.insights.baselines import Comparison
from nocturne.insights.findings import MOST, Finding, Member, findings_of, ranked
from nocturne.insights.metrics import METRICS
from nocturne.insights.wording import sentence

DAY = date(2026, 3, 4)
STREAMS = next(metric for metric in METRICS if metric.name == "stream_count")
SKIPS = next(metric for metric in METRICS if metric.kind == "ratio")


def seen(value: float, expected: float, deviation: float | None = None, days: int = 1) -> Comparison:
    return Comparison(value, expected, deviation if deviation is not None else (value - expected) / (0.04 * expected + 3), days)


def member(dimension: str, key: str, **inside: str) -> Member:
    return Member(dimension, key, key, inside)


def texts(total: Comparison, members: dict[Member, Comparison]) -> list[str]:
    return [sentence(one, DAY, "EUR") for one in ranked(findings_of(STREAMS, total, members))]


def test_a_quiet_day_says_nothing() -> None:
    assert texts(seen(10_100, 10_000), {member("country", "FR"): seen(5_050, 5_000)}) == []


def test_a_rare_but_small_change_says_nothing() -> None:
    assert texts(seen(10_900, 10_000, deviation=9), {}) == []


def test_an_outage_of_one_country_is_one_sentence() -> None:
    members = {
        member("country", "FR"): seen(600, 5_000),
        member("country", "DE"): seen(3_950, 4_000),
        member("track", "t1", artist="a1"): seen(60, 600),
        member("artist", "a1"): seen(100, 1_000),
    }
    assert texts(seen(5_600, 10_000), members) == [
        "Streams were 5,600 on Wednesday 2026-03-04, 44% below what a Wednesday usually brings (10,000);"
        " country FR explains 100% of the fall (600 instead of 5,000)."
    ]


def test_an_outage_of_everything_blames_nobody() -> None:
    members = {member("country", key): seen(share * 0.3, share) for key, share in (("FR", 5_000.0), ("DE", 4_000.0), ("IT", 1_000.0))}
    (text,) = texts(seen(3_000, 10_000), members)
    assert "explains" not in text


def test_a_hit_is_told_once_as_the_track() -> None:
    members = {
        member("track", "t1", artist="a1", genre="pop"): seen(2_500, 100),
        member("artist", "a1"): seen(2_800, 400),
        member("genre", "pop"): seen(5_400, 3_000),
    }
    assert texts(seen(12_300, 10_000), members) == [
        "Streams were 12,300 on Wednesday 2026-03-04, 23% above what a Wednesday usually brings (10,000);"
        " track t1 explains 104% of the rise (2,500 instead of 100)."
    ]


def test_a_hit_that_does_not_move_the_total_is_told_by_itself() -> None:
    members = {
        member("track", "t1", artist="a1", genre="pop"): seen(900, 100),
        member("artist", "a1"): seen(1_150, 400),
        member("genre", "jazz"): seen(1_010, 1_000),
    }
    assert texts(seen(10_300, 10_000), members) == [
        "Track t1 had 900 streams on Wednesday 2026-03-04, 9.0 times what a Wednesday usually brings (100); that is 9% of all streams."
    ]


def test_an_artist_whose_many_tracks_rise_is_told_as_the_artist() -> None:
    members = {member("artist", "a1"): seen(1_600, 400)}
    members |= {member("track", f"t{number}", artist="a1"): seen(160, 40) for number in range(10)}
    (text,) = texts(seen(10_900, 10_000), members)
    assert text.startswith("Artist a1 had 1,600 streams")


def test_an_artist_that_moved_is_not_told_again_as_its_tracks_or_its_country() -> None:
    members = {member("artist", "a1"): seen(1_700, 0), member("country", "SE"): seen(1_900, 160)}
    members |= {member("track", f"t{number}", artist="a1", genre="pop"): seen(440, 0) for number in range(4)}
    (text,) = texts(seen(11_000, 10_000), members)
    assert text.startswith("Artist a1 had 1,700 streams")


def test_two_things_that_have_nothing_to_do_with_each_other_are_both_told() -> None:
    members = {member("track", "t1", artist="a1"): seen(900, 100), member("artist", "a2"): seen(1_300, 400)}
    assert len(texts(seen(10_900, 10_000), members)) == 2


def test_what_lasts_is_told_at_first_and_then_once_a_week() -> None:
    told = [days for days in range(1, 16) if texts(seen(5_600, 10_000, days=days), {})]
    assert told == [1, 2, 3, 7, 14]


def test_a_hit_during_an_outage_is_told_beside_it() -> None:
    members = {
        member("country", "FR"): seen(600, 5_000),
        member("country", "DE"): seen(3_950, 4_000),
        member("track", "t1", artist="a1"): seen(900, 100),
    }
    outage, hit = texts(seen(5_600, 10_000), members)
    assert "country FR explains" in outage
    assert hit.startswith("Track t1 had 900 streams")


def test_something_new_has_no_usual() -> None:
    (text,) = texts(seen(10_400, 10_000), {member("track", "t1"): seen(400, 0)})
    assert text == "Track t1 had 400 streams on Wednesday 2026-03-04, where a Wednesday usually brings none; that is 4% of all streams."


def test_what_lasts_says_for_how_long() -> None:
    (text,) = texts(seen(5_600, 10_000, days=3), {})
    assert (
        text
        == "Streams were 5,600 on Wednesday 2026-03-04, 44% below what a Wednesday usually brings (10,000), for the third day in a row."
    )


def test_a_rate_is_told_in_points() -> None:
    (finding,) = findings_of(SKIPS, Comparison(0.412, 0.33, 8), {})
    assert sentence(finding, DAY, "EUR") == (
        "The skip rate was 41.2% on Wednesday 2026-03-04, 8.2 points above what a Wednesday usually brings (33.0%)."
    )


def test_a_day_tells_only_the_most_important() -> None:
    members = {member("artist", f"a{number}"): seen(500 + number, 100) for number in range(30)}
    found = ranked(findings_of(STREAMS, seen(5_000, 10_000), {}) + findings_of(STREAMS, seen(10_000, 10_000), members))
    assert len(found) == MOST
    assert found[0].scope == "total"
    deviations = [finding.comparison.deviation for finding in found[1:]]
    assert deviations == sorted(deviations, reverse=True)


def test_a_week_is_told_with_both_its_neighbours() -> None:
    one = Finding(STREAMS, "week", seen(80_000, 70_000), "low", before=72_000)
    assert sentence(one, date(2026, 3, 8), "EUR") == (
        "Streams in the week to Sunday 2026-03-08 came to 80,000, 14% above the median of the four weeks before (70,000)"
        " and 11% above the week before (72,000)."
    )


def test_money_is_told_in_the_tenants_currency() -> None:
    revenue = next(metric for metric in METRICS if metric.kind == "amount")
    members = {member("country", "FR"): seen(100, 1_000)}
    (total,) = findings_of(revenue, seen(1_100, 2_000), members)
    assert sentence(total, DAY, "EUR") == (
        "Net revenue was EUR 1,100.00 on Wednesday 2026-03-04, 45% below what a Wednesday usually brings (EUR 2,000.00);"
        " country FR explains 100% of the fall (EUR 100.00 instead of EUR 1,000.00)."
    )
    (alone,) = findings_of(revenue, seen(2_000, 2_000), {member("country", "FR"): seen(3_000, 500)})
    assert sentence(alone, DAY, "EUR").startswith("Country FR had net revenue of EUR 3,000.00 on Wednesday 2026-03-04, 6.0 times what")
