"""A mapping backwards: what is delivered so that the mapping gives what is true (the integration tests show that it does)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from nocturne.errors import TenantError
from nocturne.simulator.columns import table
from nocturne.simulator.foreign import foreign
from nocturne.tenants import Source, Tenant

AT = datetime(2026, 3, 29, 22, 30, 15, 250_000, UTC)
ROW: dict[str, Any] = {
    "play_id": "p1",
    "played_at": AT,
    "listener_id": "u7",
    "track_id": "t1",
    "ms_played": 61_500,
    "reason_end": "track_done",
    "country": "FR",
    "context_id": None,
    "is_offline": True,
}


def delivered(mapping: dict[str, str], dataset: str = "plays", row: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The one row that a source with this mapping (over a plain one) delivers."""
    plain = {"play_id": "play_id", "played_at": "played_at", "listener_id": "listener_id", "track_id": "track_id", "ms_played": "ms_played"}
    full = (plain | mapping) if dataset == "plays" else mapping
    source = Source.model_validate({"name": "s", "dataset": dataset, "kind": "files", "location": "s/{day}", "map": full} | more)
    document = {"slug": "tenant", "name": "T", "time_zone": "UTC", "currency": "EUR", "begins_on": "2026-01-01", "sources": [source]}
    tenant = Tenant.model_validate(document)
    values = ROW if row is None else row
    rows = table(dataset, 1, {name: pa.array([value]) for name, value in values.items()})
    return {name: column.to_pylist()[0] for name, column in foreign(tenant, source).rows(rows)}


@pytest.mark.parametrize(
    ("column", "expression", "name", "value"),
    [
        ("play_id", "eventId", "eventId", "p1"),
        ("played_at", "make_timestamp_ms(ts)", "ts", 1_774_823_415_250),
        ("played_at", "make_timestamp(micros)", "micros", 1_774_823_415_250_000),
        ("played_at", "make_timestamp_ns(nanos)", "nanos", 1_774_823_415_250_000_000),
        ("played_at", "to_timestamp(seconds)", "seconds", 1_774_823_415.25),
        ("played_at", "try_cast(at AS timestamptz)", "at", "2026-03-29T22:30:15.250Z"),
        ("played_at", "strptime(at, '%d/%m/%Y %H:%M:%S') AT TIME ZONE 'Asia/Jakarta'", "at", "30/03/2026 05:30:15"),
        ("listener_id", "'u' || member", "member", "7"),
        ("listener_id", "concat('u', member)", "member", "7"),
        ("country", "upper(market)", "market", "fr"),
        ("reason_end", "lower(trim(why))", "why", "TRACK_DONE"),
        ("reason_end", "CASE why WHEN 'done' THEN 'track_done' WHEN 'fwd' THEN 'forward' END", "why", "done"),
        ("reason_end", "CASE WHEN why = 'done' THEN 'track_done' END", "why", "done"),
        ("ms_played", "round(seconds * 1000)", "seconds", 61.5),
        ("ms_played", "try_cast(micros / 1000 AS bigint)", "micros", 61_500_000),
        ("context_id", "nullif(context, '')", "context", ""),
        ("context_id", "coalesce(context, 'none')", "context", None),
        ("is_offline", "downloaded = 'Y'", "downloaded", "Y"),
        ("is_offline", "downloaded = 1", "downloaded", 1),
    ],
)  # fmt: skip
def test_an_expression_is_turned_around(column: str, expression: str, name: str, value: object) -> None:
    assert delivered({column: expression})[name] == value


def test_a_false_flag_is_the_other_word() -> None:
    assert delivered({"is_offline": "downloaded = 'yes'"}, row=ROW | {"is_offline": False})["downloaded"] == "no"


def test_an_amount_in_cents_is_a_whole_number() -> None:
    mapping = {"payment_id": "id", "paid_at": "at", "listener_id": "who", "status": "status", "amount": "cents / 100", "currency": "'EUR'"}
    row = {"payment_id": "1", "paid_at": AT, "listener_id": "u", "status": "succeeded", "amount": 11.99, "currency": "EUR"}
    cents = delivered(mapping, "payments", row)
    assert cents["cents"] == 1199 and isinstance(cents["cents"], int)
    assert "currency" not in cents  # a constant needs no delivery


def test_what_where_asks_for_stands_in_every_row() -> None:
    row = delivered({}, where="page = 'NextSong' AND version = 2")
    assert (row["page"], row["version"]) == ("NextSong", "2")


def test_an_estimated_column_is_not_delivered() -> None:
    estimate = {"ms_played": {"until_next": ["listener_id"], "at": "played_at", "at_most": "1000"}}
    mapping = {"play_id": "play_id", "played_at": "played_at", "listener_id": "listener_id", "track_id": "track_id"}
    source = {"name": "s", "dataset": "plays", "kind": "files", "location": "s/{day}", "map": mapping, "estimate": estimate}
    tenant = Tenant.model_validate(
        {"slug": "tenant", "name": "T", "time_zone": "UTC", "currency": "EUR", "begins_on": "2026-01-01", "sources": [source]}
    )
    assert [field.name for field in foreign(tenant, tenant.sources[0]).fields] == list(mapping)


@pytest.mark.parametrize(
    ("mapping", "more", "told"),
    [
        ({"play_id": "md5(concat(a, b))"}, {}, "has no inverse"),
        ({"track_id": "regexp_extract(uri, '[a-z]+')"}, {}, "has no inverse"),
        ({"track_id": "concat('a', b, 'c')"}, {}, "only with one prefix"),
        ({"ms_played": "a * b"}, {}, "only with a constant"),
        ({"track_id": "play_id"}, {}, "play_id is read twice"),
        ({}, {"where": "page <> 'Home'"}, "is no equality with a constant"),
    ],
)
def test_what_cannot_be_turned_around_is_refused_by_name(mapping: dict[str, str], more: dict[str, str], told: str) -> None:
    with pytest.raises(TenantError, match=told) as refused:
        delivered(mapping, **more)
    assert "source s" in str(refused.value)


def test_a_value_that_no_delivered_word_stands_for_is_refused() -> None:
    with pytest.raises(TenantError, match="no delivered word stands for track_done"):
        delivered({"reason_end": "CASE why WHEN 'fwd' THEN 'forward' END"})
    with pytest.raises(TenantError, match="there is also FR"):
        delivered({"country": "'DE'"})
    with pytest.raises(TenantError, match="not every value begins with 'x'"):
        delivered({"listener_id": "concat('x', member)"})
