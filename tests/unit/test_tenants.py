"""Tenants: what a file may say, how it is told what is wrong, and what derives from it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from nocturne.errors import TenantError
from nocturne.tenants import FIRST_DAY, LIMITS, SLUG, Rules, Source, Tenant, Tier, load_tenant, load_tenants, read_tenant

PLAIN = """\
name: Dusk
time_zone: Europe/Paris
currency: EUR
begins_on: 2026-01-01
sources:
  - name: plays
    dataset: plays
    kind: files
    location: dusk/{day}/*.ndjson
"""

slugs = st.from_regex(SLUG, fullmatch=True).filter(lambda slug: not slug.startswith("pg_") and slug != "pg")


def tenant_of(**more: Any) -> Tenant:
    source = {"name": "plays", "dataset": "plays", "kind": "files", "location": "dusk/{day}/*"}
    whole = {
        "slug": "dusk",
        "name": "Dusk",
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": date(2026, 1, 1),
        "sources": [source],
    }
    return Tenant.model_validate(whole | more)


def source_of(**more: Any) -> Source:
    return Source.model_validate({"name": "plays", "dataset": "plays", "kind": "files", "location": "dusk/{day}/*"} | more)


def wrong(text: str) -> list[str]:
    """What is told of a file with this content: each line without the file's name."""
    with pytest.raises(TenantError) as caught:
        read_tenant(text, Path("dusk.yml"))
    assert caught.value.tenant == "dusk"
    lines = caught.value.what.splitlines()
    assert all(line.startswith("dusk.yml:") for line in lines)
    return [line.removeprefix("dusk.yml:") for line in lines]


# the file ----------------------------------------------------------------------------------------------------------------------
def test_a_plain_file_is_enough() -> None:
    tenant = read_tenant(PLAIN, Path("dusk.yml"))
    assert (tenant.slug, tenant.tier, tenant.night_at.hour, tenant.week_start) == ("dusk", Tier.PRO, 3, "monday")
    assert tenant.has("plays")
    assert not tenant.has("plays", "payments")
    assert [dataset.name for dataset in tenant.datasets] == ["plays"]
    assert tenant.limits is LIMITS[Tier.PRO]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("EUR", "euro"), "3: currency: "),
        (("Europe/Paris", "Europe/Pari"), "2: time_zone.0.value: there is no time zone 'Europe/Pari'"),
        (("Europe/Paris", "[]"), "2: time_zone: there must be a time zone"),
        (("2026-01-01", "2026-02-30"), "4: begins_on: "),
        (("name: Dusk\n", "name: Dusk\nwifi: yes\n"), "2: wifi: Extra inputs are not permitted"),
        (("dataset: plays", "dataset: playz"), "7: sources.0.dataset: there is no dataset 'playz'; there are plays, "),
        (("kind: files", "kind: files\n    deadline: soon"), "9: sources.0.deadline: "),
        (
            ("kind: files", "kind: files\n    columns: {ts: blobby}"),
            "9: sources.0.columns: unknown types {'ts': 'blobby'}; allowed: bigint, ",
        ),
        (("kind: files", "kind: files\n    where: getenv('HOME')"), "9: sources.0.where: "),
        (("kind: files", "kind: files\n    map:\n      play_id: a\n      played_at: now()"), "11: sources.0.map.played_at: "),
        (
            ("sources:\n", "rules: {stream_min_ms: [{value: 1}, {from: 2026-01-01, value: -1}]}\nsources:\n"),
            "5: rules.stream_min_ms.1.value: ",
        ),
        (("name: Dusk", "slug: dawn\nname: Dusk"), "1: the slug 'dawn' is not the file's name"),
    ],
)
def test_a_wrong_value_is_told_with_its_line(change: tuple[str, str], told: str) -> None:
    [line] = wrong(PLAIN.replace(*change, 1))
    assert line.startswith(told)


def test_every_wrong_value_is_told_at_once_and_none_twice() -> None:
    lines = wrong(PLAIN.replace("EUR", "euro").replace("dataset: plays", "dataset: playz").replace("Europe/Paris", "Mars"))
    assert [line.split(":")[0] for line in lines] == ["2", "3", "7"]


def test_a_missing_list_of_sources_is_still_told() -> None:
    assert wrong(PLAIN.partition("sources:")[0] + "sources: []\n") == [
        "5: sources: Tuple should have at least 1 item after validation, not 0."
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1: the file holds no mapping"),
        ("- a\n- b\n", "1: the file holds no mapping"),
        ("name: a\nname: b\n", "2: name stands twice"),
        ("a:\n  - b: {c: 1, d: 2, c: 3}\n", "2: c stands twice"),
        ("a: [1\nb: 2", "2: "),
        ("a: b: c", "1: mapping values are not allowed"),
        ("a: !!python/object:os.system x", "1: the tag tag:yaml.org,2002:python/object:os.system is not read"),
        ("a: 1\nb: !!timestamp x", "2: the tag tag:yaml.org,2002:timestamp is not read"),
        ("a: !!int x", "1: "),
        ("? [a, b]\n: c", "1: a key must be a word"),
        ("a: &a [*a]", "1: "),
        ("a: \x00", "1: "),
        ("a: " + "[" * 60_000, "1: "),
        ("a: " + "[" * 1_500 + "]" * 1_500, "1: "),
        ("#" * 64_001, "1: the file has 64001 characters; at most 64000 are read"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n" for before, after in pairwise("abcdefgh")
        ), ": there are more than 20000 values"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_told_and_never_raised(text: str, told: str) -> None:
    [line] = wrong(text)
    assert told in line


@given(st.text(max_size=80) | st.text(alphabet="{}[]:-,&*!|>'\"\n #a1", max_size=60))
@example("a: 9" + "9" * 5_000)
@example("{a: b, <<: 1}")
@example("a: .nan")
def test_no_content_whatever_raises_anything_else(text: str) -> None:
    try:
        read_tenant(text, Path("dusk.yml"))
    except TenantError as error:
        assert error.what.startswith("dusk.yml:")


@pytest.mark.parametrize(("written", "meant"), [("22:30", (22, 30)), ("03:05", (3, 5)), ("9:30:00", None)])
def test_a_time_is_a_time_and_no_number_of_seconds(written: str, meant: tuple[int, int] | None) -> None:
    text = f"{PLAIN}night_at: {written}\n"
    if meant is None:
        assert wrong(text)[0].startswith("10: night_at: ")
    else:
        night_at = read_tenant(text, Path("dusk.yml")).night_at
        assert (night_at.hour, night_at.minute) == meant


def test_words_are_words() -> None:
    tenant = read_tenant(PLAIN.replace("name: Dusk", "name: no").replace("dusk.yml", ""), Path("dusk.yml"))
    assert tenant.name == "no"


def test_plain_values_in_a_mapping_need_no_quotes() -> None:
    lines = "    map: {play_id: a, played_at: b, listener_id: c, track_id: d, ms_played: 30_000, is_offline: false, country: null}\n"
    source = read_tenant(PLAIN + lines, Path("dusk.yml")).sources[0]
    assert (source.map["ms_played"], source.map["is_offline"], source.map["country"]) == ("30000", "false", "NULL")


def test_an_absent_or_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TenantError, match=r"dusk\.yml: No such file"):
        load_tenant(tmp_path / "dusk.yml")
    (tmp_path / "dusk.yml").write_bytes(b"name: \xff")
    with pytest.raises(TenantError, match="UTF-8"):
        load_tenant(tmp_path / "dusk.yml")


@pytest.mark.parametrize("slug", ["Dusk", "d", "1dusk", "dusk-2", "d" * 21, "pg_dusk", "pg", "düsk", "dusk\n"])
def test_a_slug_that_cannot_name_a_schema_is_refused(slug: str) -> None:
    with pytest.raises(ValidationError, match="slug"):
        tenant_of(slug=slug)


def test_a_broken_file_breaks_only_itself(tmp_path: Path) -> None:
    for slug in ("dawn", "dusk", "noon"):
        (tmp_path / f"{slug}.yml").write_text(PLAIN)
    (tmp_path / "noon.yml").write_text("name: [")
    (tmp_path / ".swap.yml").write_text("name: [")
    (tmp_path / "away.yml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.yml").mkdir()
    roll = load_tenants(tmp_path)
    assert list(roll.tenants) == ["dawn", "dusk"]
    assert [error.tenant for error in roll.broken] == ["away", "folder", "noon"]
    assert roll.get("dusk").slug == "dusk"
    with pytest.raises(TenantError, match=r"noon\.yml:1"):
        roll.get("noon")
    with pytest.raises(TenantError, match="there are dawn, dusk"):
        roll.get("nobody")


def test_a_thousand_tenants_load_within_a_parse(tmp_path: Path) -> None:
    for count in range(1_000):
        (tmp_path / f"t{count:04}.yml").write_text(PLAIN)
    started = time.process_time()
    assert len(load_tenants(tmp_path).tenants) == 1_000
    assert time.process_time() - started < 3  # 0.2 s where it was written
    started = time.process_time()
    load_tenant(tmp_path / "t0007.yml")
    assert time.process_time() - started < 0.05


def test_only_a_mapping_costs_the_parser_of_sql() -> None:
    code = "from pathlib import Path; import sys; from nocturne.tenants import read_tenant; "
    code += f"read_tenant({PLAIN!r}, Path('dusk.yml')); print('sqlglot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.stdout == "False\n"


# sources -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"kind": "api"}, "of kind api or database or topic, and only such a one, names a connection"),
        ({"connection": "shop"}, "of kind api or database or topic, and only such a one, names a connection"),
        ({"location": "ftp://host/x/{day}"}, "a store is one of s3, gs, abfs"),
        ({"location": "https://host/*"}, "an address names one file"),
        ({"location": "https://me:secret@host/{day}"}, "an address names one file"),
        ({"location": "s3://bucket"}, "a store is one of s3, gs, abfs"),
        ({"kind": "api", "connection": "shop", "format": "csv"}, "api: such a source delivers json"),
        ({"kind": "api", "connection": "shop", "location": "http://evil.example/x"}, "the host stands in the connection"),
        ({"kind": "api", "connection": "shop", "location": "//evil.example/x"}, "the host stands in the connection"),
        ({"kind": "api", "connection": "my__shop"}, "connection"),
        ({"kind": "api", "connection": "shop_"}, "connection"),
        ({"paging": {"kind": "next_url", "field": "next"}}, "only an api source has paging"),
        ({"requests_per_minute": 60}, "only an api source has requests_per_minute"),
        (
            {"kind": "api", "connection": "shop", "location": "x?day={day}", "since": {"parameter": "from", "field": "at"}},
            "it is one of the two",
        ),
        ({"topic": {"system": "kafka", "name": "a"}}, "a source of kind topic, and only such a one, says in `topic`"),
        ({"kind": "topic", "connection": "bus", "location": ""}, "a source of kind topic, and only such a one, says in `topic`"),
        (
            {"kind": "topic", "connection": "bus", "topic": {"system": "kafka", "name": "a"}},
            "of kind files or api, and only such a one, has",
        ),
        ({"topic": {"system": "kafka", "name": "a/b"}}, "a topic of Kafka is named with letters"),
        ({"topic": {"system": "kafka", "name": "a", "field": "x"}}, "a message of Kafka has one value"),
        ({"topic": {"system": "nats", "name": "a"}}, "topic.system"),
        ({"records": "rows"}, "only a json source names the field of its records"),
        ({"location": "../other/*"}, "has no `..`"),
        ({"location": "a/../../b"}, "has no `..`"),
        ({"location": "a/{date}/x"}, "no braces but those of"),
        ({"location": "a\\b"}, "path with `/`"),
        ({"location": " "}, "path with `/`"),
        ({"location": "a\x00b"}, "without control characters"),
        ({"columns": {"a": "enum"}}, "unknown types"),
        ({"columns": {"a": "varchar[]"}}, "unknown types"),
        ({"layout": {"delimiter": ";"}}, "layout: ndjson has no delimiter"),
        ({"format": "csv", "layout": {"sheet": "a"}}, "layout: csv has no sheet"),
        ({"format": "csv", "layout": {"delimiter": ";;"}}, "layout.delimiter"),
        ({"format": "csv", "layout": {"delimiter": '"'}}, "layout.delimiter"),
        ({"layout": {"encoding": "klingon"}}, "there is no text encoding 'klingon'"),
        ({"layout": {"encoding": "base64"}}, "there is no text encoding"),
        ({"layout": {"encoding": "unicode_escape"}}, "is no encoding of files"),
        ({"layout": {"colour": "a"}}, "layout.colour"),
        ({"map": {"colour": "a"}}, "dataset plays has no columns ['colour']"),
        ({"map": {"play_id": "a"}}, "the mapping lacks ['played_at', 'listener_id', 'track_id', 'ms_played']"),
        ({"map": {"play_id": ["a"]}}, "valid string"),
        ({"estimate": {"track_id": {"until_next": ["u"], "at": "t", "at_most": "1"}}}, "track_id is no duration"),
        ({"estimate": {"ms_played": {"at": "t", "at_most": "1"}}}, "until_next"),
        ({"aliases": {"isrc": {"any_of": ["ISRC"]}}}, "only a csv or xlsx source has aliases"),
        ({"format": "csv", "aliases": {"isrc": {"any_of": []}}}, "any_of"),
        ({"format": "csv", "aliases": {"isrc": {"any_of": ["Code"]}, "upc": {"any_of": ["code "]}}}, "code stands for more than one"),
        ({"estimate": {"ms_played": {"until_next": ["u"], "at": "now()", "at_most": "1"}}}, "estimate.ms_played.at"),
        (
            {"dataset": "tracks", "estimate": {"duration_ms": {"until_next": ["u"], "at": "t", "at_most": "1"}}},
            "nothing in it may be estimated",
        ),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        source_of(**more)


def test_an_api_delivers_json_without_being_told() -> None:
    assert source_of(kind="api", connection="shop").format == "json"
    assert source_of().format == "ndjson"


def test_a_required_column_may_be_estimated_instead_of_mapped() -> None:
    mapped = {"play_id": "a", "played_at": "t", "listener_id": "u", "track_id": "s"}
    source = source_of(map=mapped, estimate={"ms_played": {"until_next": ["u"], "at": "t", "at_most": "1"}})
    assert set(source.estimate) == {"ms_played"}


@pytest.mark.parametrize("names", [("plays", "plays"), ("a1", "plays", "a1")])
def test_sources_have_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="named twice"):
        tenant_of(sources=[{"name": name, "dataset": "plays", "kind": "files", "location": "x"} for name in names])


def test_a_fingerprint_changes_with_what_rows_become_and_with_nothing_else() -> None:
    mapped = {"map": {"play_id": "a", "played_at": "t", "listener_id": "u", "track_id": "s", "ms_played": "m"}}
    base = source_of(**mapped).fingerprint
    same: list[dict[str, Any]] = [{"location": "elsewhere"}, {"required": True}, {"deadline": "05:00"}, {"name": "other"}]
    other: list[dict[str, Any]] = [
        {"map": mapped["map"] | {"ms_played": "m * 1"}},
        {"where": "a"},
        {"format": "csv"},
        {"layout": {"encoding": "cp1252"}},
        {"columns": {"t": "bigint"}},
    ]
    assert {source_of(**(mapped | more)).fingerprint for more in same} == {base}
    assert base not in {source_of(**(mapped | more)).fingerprint for more in other}
    changed = source_of(**mapped).model_copy(update={"where": "a"})
    assert changed.fingerprint == source_of(**mapped, where="a").fingerprint


# rules -------------------------------------------------------------------------------------------------------------------------
dated = st.lists(st.tuples(st.dates(FIRST_DAY, date(2100, 1, 1)), st.integers(0, 10**6)), min_size=1, max_size=6)


@given(dated)
def test_the_intervals_of_a_rule_cover_every_day_once(entries: list[tuple[date, int]]) -> None:
    entries = sorted(dict(entries).items())
    rules = Rules.model_validate({"stream_min_ms": [{"from": since, "value": value} for since, value in entries]})
    found = [interval[1:] for interval in rules.intervals() if interval[0] == "stream_min_ms"]
    assert found[0][0] == FIRST_DAY
    assert found[-1][1] is None
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert all(end is None or start < end for start, end, _ in found)
    assert [value for _, _, value in found] == [str(value) for _, value in entries]


def test_a_royalty_asks_for_a_thousand_streams_two_minutes_of_noise_and_five_hundred_listeners() -> None:
    rules = {name: value for name, _, _, value in Rules().intervals()}
    names = ("payable_min_streams", "noise_min_ms", "boost_min_streams", "boost_min_listeners")
    assert [rules[name] for name in names] == ["1000", "120000", "1000", "500"]
    assert "white noise" in rules["noise_genres"].split(", ")


@given(dated.filter(lambda entries: len(entries) > 1))
def test_rules_whose_days_do_not_rise_are_refused(entries: list[tuple[date, int]]) -> None:
    days = [FIRST_DAY] + [since for since, _ in entries[1:]]
    given_days = [{"from": since, "value": value} for since, value in entries]
    if all(before < after for before, after in pairwise(days)):
        Rules.model_validate({"stream_min_ms": given_days})
    else:
        with pytest.raises(ValidationError, match="must rise"):
            Rules.model_validate({"stream_min_ms": given_days})


@pytest.mark.parametrize(
    "rules",
    [
        {"stream_min_ms": -1}, {"stream_min_ms": []}, {"stream_rule": "ge"}, {"complete_rate": 1.5}, {"complete_rate": "nan"},
        {"pool_share": 0}, {"paid_per_unit": 0}, {"session_gap_seconds": 0},
        {"stream_min_seconds": 30}, {"stream_min_ms": [{"value": 1}, {"value": 2}]},
        {"payable_min_streams": -1}, {"noise_genres": "rain,wind"}, {"noise_genres": ""},
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rules.model_validate(rules)


def test_a_bill_holds_from_a_month_on_until_the_next() -> None:
    bills = [{"from": "2026-01-01", "month": "400"}, {"from": "2026-03-01", "month": 450, "included_rows": 5, "million_rows": "12.5"}]
    first, second = tenant_of(bill=bills).bill
    assert (first.month, first.included_rows, first.million_rows) == (400, 0, 0)
    assert (second.since, second.million_rows) == (date(2026, 3, 1), Decimal("12.5"))


@pytest.mark.parametrize(
    ("bill", "why"),
    [
        ([{"from": "2026-01-02", "month": 1}], "the first day of one"),
        ([{"from": "2026-02-01", "month": 1}, {"from": "2026-01-01", "month": 1}], "must rise"),
        ([{"from": "2026-01-01", "month": -1}], "greater than or equal to 0"),
        ([{"from": "2026-01-01", "month": 1.001}], "decimal places"),
        ([{"from": "2026-01-01"}], "Field required"),
    ],
)
def test_a_bill_that_makes_no_sense_is_refused(bill: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        tenant_of(bill=bill)


def test_the_definitions_stand_unless_a_tenant_says_otherwise() -> None:
    told = {(name, value): (start, end) for name, start, end, value in Rules().intervals()}
    assert told["stream_min_ms", "30000"] == (FIRST_DAY, None)
    assert told["paid_per_unit", "1250"] == (FIRST_DAY, date(2026, 1, 17))
    assert told["ad_per_unit", "2500"] == (date(2026, 1, 17), None)
    assert len({name for name, _ in told}) == len(Rules.model_fields)


# time --------------------------------------------------------------------------------------------------------------------------
zones = st.sampled_from(
    ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "America/St_Johns", "UTC"]
)
instants = st.timedeltas(timedelta(0), timedelta(days=10_957)).map(lambda since: datetime(2005, 1, 1, tzinfo=UTC) + since)


@given(zones, instants)
@example("Europe/Paris", datetime(2026, 3, 29, 22, 0, tzinfo=UTC))  # the end of a day of 23 hours
@example("Europe/Paris", datetime(2026, 10, 25, 23, 0, tzinfo=UTC))  # the end of a day of 25 hours
@example("Pacific/Apia", datetime(2011, 12, 30, 10, 0, tzinfo=UTC))  # a day that was left out
def test_the_business_day_is_the_last_local_day_that_was_over(name: str, instant: datetime) -> None:
    day = tenant_of(time_zone=name).business_day(instant)
    zone = ZoneInfo(name)
    ended = datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=zone)
    assert ended.astimezone(UTC) <= instant
    assert instant.astimezone(zone).date() == day + timedelta(days=1)


@given(zones, st.dates(date(2020, 1, 1), date(2030, 1, 1)))
def test_every_instant_of_a_local_day_has_one_business_day_however_long_it_is(name: str, day: date) -> None:
    tenant, zone = tenant_of(time_zone=name), ZoneInfo(name)
    start, end = (datetime.combine(day + timedelta(days=days), datetime.min.time(), tzinfo=zone).astimezone(UTC) for days in (0, 1))
    hours = (end - start) / timedelta(hours=1)
    assert 23 <= hours <= 25
    within = [start + (end - start) * share for share in (0, 0.25, 0.5, 0.75)] + [end - timedelta(microseconds=1)]
    assert {tenant.business_day(instant) for instant in within} == {day - timedelta(days=1)}
    assert tenant.business_day(end) == day


def test_a_time_zone_changes_at_an_instant_and_the_first_reaches_back() -> None:
    moved = datetime(2026, 3, 1, tzinfo=UTC)
    tenant = tenant_of(time_zone=[{"from": "2025-01-01", "value": "Europe/Paris"}, {"from": moved, "value": "Asia/Tokyo"}])
    assert [tenant.zone_at(moved - ago).key for ago in (timedelta(days=90_000), timedelta(seconds=1), timedelta(0))] == [
        "Europe/Paris", "Europe/Paris", "Asia/Tokyo"
    ]  # fmt: skip
    with pytest.raises(ValidationError, match="must rise"):
        tenant_of(time_zone=[{"value": "UTC"}, {"from": moved, "value": "Asia/Tokyo"}, {"from": moved, "value": "UTC"}])


# names -------------------------------------------------------------------------------------------------------------------------
NAMES: dict[str, Callable[[Tenant], tuple[str, ...]]] = {
    "schemas": lambda tenant: tenant.schemas,
    "roles": lambda tenant: (tenant.owner_role, tenant.reader_role),
    "DAGs and assets": lambda tenant: (*tenant.dags, tenant.models_asset),
    "connections": lambda tenant: tuple(tenant.connection_id(name) for name in ("shop", "a", "a_b", "b", "shop_a")),
    "environment variables": lambda tenant: tuple(f"AIRFLOW_CONN_{tenant.connection_id(name).upper()}" for name in ("shop", "a", "a_b")),
    "models": lambda tenant: tuple(tenant.model_name(problem) for problem in ("churn", "genre")),
    "folders": lambda tenant: (str(tenant.lake_folder(Path("lake"))),),
    "tags": lambda tenant: tenant.tags[:1],
}


@given(slugs, slugs)
@example("ab", "ab_raw")
@example("ab", "ab_")
@example("ab", "ab__a")
@example("ab_a", "ab")
@example("ab_owner", "ab")
@example("ab__nightly", "ab")
def test_no_two_tenants_share_a_name(first: str, second: str) -> None:
    one, other = tenant_of(slug=first), tenant_of(slug=second)
    for kind, names in NAMES.items():
        assert len(set(names(one))) == len(names(one)), kind
        assert (first == second) or not set(names(one)) & set(names(other)), kind


@given(slugs)
def test_every_name_fits_where_it_is_used(slug: str) -> None:
    tenant = tenant_of(slug=slug)
    for name in (*tenant.schemas, tenant.owner_role, tenant.reader_role):
        assert re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name)
        assert not name.startswith("pg_")
    for name in (*tenant.dags, tenant.models_asset):
        assert re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", name)
    assert re.fullmatch(r"[A-Z0-9_]+", tenant.connection_id("shop").upper())


def test_a_tiers_limits_never_fall_with_its_price() -> None:
    assert set(LIMITS) == set(Tier)
    for lower, higher in pairwise(LIMITS[tier] for tier in Tier):
        assert lower.rows_a_night < higher.rows_a_night
        assert lower.landing_days < higher.landing_days
        assert lower.reports <= higher.reports
        assert lower.problems <= higher.problems
        assert (lower.priority, lower.trials) < (higher.priority, higher.trials)


def test_a_column_is_read_under_the_first_of_its_names_that_stands_in_the_header() -> None:
    source = source_of(format="csv", aliases={"isrc": {"any_of": ["Track ISRC", "Code"]}, "units": {"any_of": ["Qty"], "required": False}})
    assert source.as_named(["Code", " track isrc ", "QTY"]) == ("Code", "isrc", "units")
    assert source.as_named(["Code", "ISRC"]) == ("Code", "isrc")
    assert source.may_lack == {"units"}
    assert source.fingerprint != source_of(format="csv").fingerprint
