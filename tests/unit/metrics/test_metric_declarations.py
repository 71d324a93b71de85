"""Declarations are read strictly: whatever is not exactly right is refused with file and line, before anything is answered."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from nocturne.errors import SettingsError
from nocturne.metrics import load_catalogue
from nocturne.metrics.declarations import AddsUp, Catalogue
from nocturne.metrics.loading import resolve
from nocturne.metrics.shapes import Step, load_shapes
from nocturne.settings import PROJECT

DBT = PROJECT / "dbt"
CATALOGUE = load_catalogue(PROJECT / "dbt" / "metrics", DBT)
NEW = """\
domain: newest
owner: someone
metrics:
  loud_plays:
    title: Loud plays
    formula: Plays of loud tracks.
    unit: count
    adds_up: sum
    from:
      track_days: {sum: play_count}
    dimensions: [country]
    needs: [plays]
    version: 1
"""


WHY_NOT = {
    "activity_periods": (
        "day_count play_count stream_count skip_count completed_count intentional_count session_count new_listener_count",
        "the same by week or month is asked of the marts of days; a row here is of a week or of a month",
    ),
    "artist_days": ("play_count stream_count skip_count intentional_count track_count", "plays without a known artist have no row"),
    "artist_facts": ("listener_count", "of all time: `listeners` without a time counts them anew"),
    "artist_pairs": ("listener_count artist_listener_count other_listener_count counted_listener_count", "a network of bounded size"),
    "artist_territory_days": ("play_count stream_count intentional_count", "plays without a known artist have no row"),
    "artist_watchlist": ("reason_count", "a list to read, ordered by it"),
    "attribution_months": (
        "path_count converted_path_count touchpoint_count cost_amount",
        "a path stands in each of its channels; touchpoints and their cost are asked of touchpoints",
    ),
    "catalogue_days": ("track_count", "distinct; `heard_tracks` counts anew"),
    "distribution_days": ("value_count", "plays, tracks, artists or listeners, each a metric of its own"),
    "genre_days": ("track_count", "distinct; `heard_tracks` counts anew"),
    "genre_weeks": ("stream_count listener_count", "`stream_count` and `listeners` by genre and week"),
    "licence_months": (
        "stream_count artificial_count territory_count",
        "whole under each licence: two holders' would count a stream twice",
    ),
    "listener_days": (
        "play_count skip_count completed_count intentional_count track_count artist_count session_count",
        "of one person; `audience_days` adds up those who are alike",
    ),
    "listener_facts": ("play_count stream_count session_count active_day_count", "of one person"),
    "listener_months": ("play_count session_count active_day_count", "of one person, as those of days"),
    "listening_days": ("play_count", "the same as that of activity_days, without days of silence"),
    "mrr_days": ("arppu_amount", "arppu is a ratio of two metrics"),
    "path_days": ("listener_count stream_count", "distinct, and streams of the most common paths alone"),
    "playlist_effects": ("follower_count control_count other_add_count", "what one effect was judged by"),
    "plays": ("resume_count", "how a play was joined, not how often one was"),
    "quality_days": (
        "check_count passed_count warned_count stopped_count muted_count unknown_count row_count quarantined_count",
        "what one table's score of a day is made of; quarantine is asked of reconciliation",
    ),
    "reconciliation": ("batch_count held_batch_count left_out_count difference_count", "of a day's batches, for whoever runs it"),
    "reconciliation_days": (
        "silver_count warehouse_count mart_count joined_count zero_length_count late_count difference_count",
        "terms of one balance, which is read whole",
    ),
    "release_days": ("play_count stream_count track_count", "plays without a known release have no row"),
    "royalty_shares": ("net_amount pool_amount unconverted_count", "the whole pool's in each of its rows: it would count once a holder"),
    "royalty_statements": (
        "line_count adjustment_count pro_rata_amount user_centric_amount artist_centric_amount",
        "sums of the lines, which tell holders too",
    ),
    "save_days": ("stream_count", "streams of saved tracks alone"),
    "session_days": ("stream_count skip_count interaction_count", "streams and skips are asked by the day of the play"),
    "sessions": ("stream_count skip_count track_count interaction_count", "streams and skips are asked of plays"),
    "statement_months": ("unconverted_count", "an alert to finance, not a number of the period"),
    "subscription_months": (
        "payer_count mrr_amount arpu_amount arppu_amount active_listener_count",
        "`payer_count`, `mrr`, `arpu`, `arppu` at any time",
    ),
    "subscription_periods": ("price_amount mrr_amount", "prices of periods that overlap in time; `mrr` is what holds at an instant"),
    "tier_revenue_days": ("ecpm_amount", "ecpm is a ratio of two metrics"),
    "tier_revenue_months": ("ecpm_amount", "ecpm is a ratio of two metrics"),
    "track_facts": ("play_count stream_count", "of all time: `stream_count` by track, without a time"),
    "trial_weeks": (
        "trial_count converted_count",
        "asked of subscription_periods by any dimension; a week here is told once all of it is known",
    ),
    "usage_months": ("delivered_count valid_count play_count stream_count", "asked of the marts that they are added up from"),
}
"""Columns that are no metric, and why not."""


def loaded(folder: Path, text: str) -> Catalogue:
    """The catalogue of a folder that declares this file and the dimensions."""
    (folder / "metrics").mkdir()
    shutil.copy(PROJECT / "dbt" / "metrics" / "dimensions.yml", folder / "metrics")
    (folder / "metrics" / "newest.yml").write_text(text)
    return load_catalogue(folder / "metrics", DBT)


def test_a_metric_of_a_mart_is_one_entry(tmp_path: Path) -> None:
    metric = loaded(tmp_path, NEW).metrics["loud_plays"]
    assert (metric.adds_up, metric.owner, metric.version, metric.place) == (AddsUp.SUM, "someone", 1, "metrics/newest.yml:5")
    assert metric.sources[0].mart.key == ("track_id", "played_on", "country")
    assert metric.steps == tuple(Step)


def test_a_column_of_a_mart_is_a_dimension_without_another_word(tmp_path: Path) -> None:
    declared = NEW.replace("track_days: {sum: play_count}", "plays: {count: rows}").replace("[country]", "[reason_end]")
    assert loaded(tmp_path, declared).metrics["loud_plays"].dimensions == ("reason_end",)


def test_a_row_lasts_as_long_as_the_source_says(tmp_path: Path) -> None:
    declared = NEW.replace("track_days: {sum: play_count}", "royalty_statement_lines: {count: rows, lasts: month}")
    metric = loaded(tmp_path, declared.replace("[country]", "[holder_id]")).metrics["loud_plays"]
    assert metric.steps == (Step.MONTH, Step.QUARTER, Step.YEAR)


@pytest.mark.parametrize(
    ("before", "after", "line", "says"),
    [
        ("play_count}", "play_cuont}", 10, "track_days has no column 'play_cuont'; it has track_id, played_on"),
        ("track_days:", "track_day:", 10, "there is no mart 'track_day'; there are activity_days"),
        ("[country]", "[contry]", 11, "there is no dimension 'contry' in track_days"),
        ("[country]", "[platform]", 11, "there is no dimension 'platform' in track_days"),
        ("[country]", "[month]", 11, "month is a length of time"),
        ("adds_up: sum", "adds_up: sums", 8, "there is no way to add up 'sums'; there are sum, ratio"),
        ("unit: count", "unit: counts", 7, "there is no unit 'counts'"),
        ("title:", "titel:", 5, "there is no field 'titel'"),
        ("    title: Loud plays\n", "", 5, "the fields title are missing"),
        ("[plays]", "[playz]", 12, "there is no dataset 'playz'"),
        ("version: 1", "version: one", 13, "a whole number from 1 is wanted, not 'one'"),
        ("version: 1", "version: 0", 13, "a whole number from 1 is wanted"),
        ("version: 1", "version: 1\n    version: 2", 14, "'version' stands twice"),
        ("{sum: play_count}", "{distinct: track_id}", 10, "there is no field 'distinct'; there are sum, count, where"),
        ("{sum: play_count}", "{sum: play_count, where: [play_count above 3]}", 10, "is no test"),
        ("{sum: play_count}", "{sum: play_count, where: [play_cuont > 0]}", 10, "has no column 'play_cuont'"),
        ("{sum: play_count}", "{sum: play_count, where: [not play_count > 0]}", 10, "`not` stands before a column alone"),
        ("{sum: play_count}", "{sum: play_count, time: played_at}", 10, "there is no column of track_days 'played_at'"),
        ("{sum: play_count}", "{sum: play_count, not_by: [contry]}", 10, "there is no dimension that track_days could tell 'contry'"),
        (
            "adds_up: sum",
            "adds_up: ratio\n    of: loud_plays\n    over: loud_plays",
            12,
            "from says nothing of a metric that adds up by ratio",
        ),
        ("adds_up: sum", "adds_up: never", 5, "needs instead"),
        ("adds_up: sum", "adds_up: estimate\n    instead: Nothing.", 5, "needs error"),
        ("adds_up: sum", "adds_up: sum\n    error: 1 %", 9, "error says nothing of a metric that adds up by sum"),
        ("adds_up: sum", "adds_up: sum\n    estimate: dau", 9, "estimate says nothing of a metric that adds up by sum"),
        ("adds_up: sum", "adds_up: estimate\n    instead: I.\n    error: 1 %", 12, "there is no field 'sum'; there are sketch, where"),
        *(
            (
                "adds_up: sum\n    from:\n      track_days: {sum: play_count}",
                f"adds_up: estimate\n    instead: I.\n    error: 1 %\n    from:\n      {source}",
                12,
                says,
            )
            for source, says in (
                ("listener_sketches: {sketch: sketch, one_of: [county]}", "there is no column of listener_sketches 'county'"),
                ("track_days: {sketch: play_count}", "track_days has no column 'level', by which its sketches are told apart"),
            )
        ),
        ("domain: newest", "domain: other", 1, "the file of domain newest must say so"),
        ("{sum: play_count}", "{sum: play_count, less: skip_cuont}", 10, "there is no column of track_days 'skip_cuont'"),
        ("{sum: play_count}", "{count: rows, less: skip_count}", 10, "less says nothing where nothing is summed"),
        ("{sum: play_count}", "{sum: play_count, lasts: year}", 10, "there is no length of a row 'year'; there are week, month"),
        ("adds_up: sum", "adds_up: sum\n    times: 1000", 9, "times says nothing of a metric that adds up by sum"),
        ("loud_plays:", "country:", 5, "country is a dimension's name already"),
        ("loud_plays:", "Loud-Plays:", 5, "is no name for a metric"),
        ("[plays]", "[plays", 13, "did not find expected"),
    ],
)
def test_what_is_not_right_is_refused_with_file_and_line(tmp_path: Path, before: str, after: str, line: int, says: str) -> None:
    assert NEW.count(before) >= 1
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, NEW.replace(before, after, 1))
    assert refused.value.what.startswith(f"metrics/newest.yml:{line}: "), refused.value.what
    assert says in refused.value.what


def test_a_ratio_of_what_is_not_there_or_does_not_add_up_is_refused(tmp_path: Path) -> None:
    ratio = "  loudness:\n    title: T\n    formula: F.\n    unit: ratio\n    adds_up: ratio\n    of: {of}\n    over: loud_plays\n    version: 1\n"
    with pytest.raises(SettingsError, match=r"newest.yml:19: there is no metric 'quiet_plays'"):
        loaded(tmp_path, NEW + ratio.replace("{of}", "quiet_plays"))
    shutil.rmtree(tmp_path / "metrics")
    with pytest.raises(SettingsError, match=r"newest.yml:19: loudness does not add up"):
        loaded(tmp_path, NEW + ratio.replace("{of}", "loudness"))


def test_a_metric_is_declared_once(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    shutil.copytree(PROJECT / "dbt" / "metrics", tmp_path / "metrics")
    (tmp_path / "metrics" / "newest.yml").write_text(NEW.replace("loud_plays", "play_count"))
    with pytest.raises(SettingsError, match=r"the metric play_count is declared twice; the other stands in metrics/engagement.yml:\d+"):
        load_catalogue(tmp_path / "metrics", DBT)


def test_a_lookup_multiplies_no_row(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "dbt" / "metrics", tmp_path / "metrics")
    path = tmp_path / "metrics" / "dimensions.yml"
    path.write_text(path.read_text().replace("  track_facts:\n    by: track_id", "  track_days:\n    by: track_id"))
    with pytest.raises(SettingsError, match="looked up by track_id, it would multiply rows"):
        load_catalogue(tmp_path / "metrics", DBT)


def test_our_own_metrics_say_all_that_is_asked_of_them() -> None:
    assert len(CATALOGUE.metrics) >= 40
    for metric in CATALOGUE.metrics.values():
        assert metric.title[0].isupper(), metric.name
        assert metric.formula.endswith("."), metric.name
        assert all(text.endswith(".") for text in (*metric.boundaries, *([metric.instead] if metric.instead else []))), metric.name


def test_a_metric_with_the_formula_of_a_column_reads_that_column() -> None:
    """Words of the field that the marts, reports and insights use too."""
    for name, mart, column in (
        ("dau", "activity_days", "listeners_1d"),
        ("mau", "activity_days", "listeners_28d"),
        ("mrr", "mrr_days", "closing_amount"),
    ):
        assert column in {source.column for source in CATALOGUE.metrics[name].sources if source.mart.name == mart}


def test_every_declared_dimension_is_told_by_some_mart() -> None:
    shapes = load_shapes(DBT).values()
    assert [name for name in CATALOGUE.dimensions if not any(resolve(CATALOGUE, shape, name) for shape in shapes)] == []


def test_every_column_of_a_mart_that_counts_is_a_metric_or_says_why_not() -> None:
    """Whoever adds a mart sees here which of its numbers nobody can ask for."""
    asked = {(source.mart.name, column) for metric in CATALOGUE.metrics.values() for source in metric.sources for column in source.columns}
    lacking = {
        mart: {column for column in shape.columns if re.search(r"_(count|amount|credit)$", column) and (mart, column) not in asked}
        for mart, shape in load_shapes(DBT).items()
    }
    assert {mart: columns for mart, columns in lacking.items() if columns} == {
        mart: set(told.split()) for mart, (told, _) in WHY_NOT.items()
    }


def test_weeks_lie_in_no_month() -> None:
    assert Step.MONTH.holds(Step.DAY)
    assert Step.YEAR.holds(Step.MONTH)
    assert not Step.MONTH.holds(Step.WEEK)
    assert not Step.WEEK.holds(Step.MONTH)
    assert not Step.DAY.holds(Step.MONTH)
