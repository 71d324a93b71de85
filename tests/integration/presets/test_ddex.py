"""DDEX messages, real and damaged, through landing, bronze and silver: rows in = rows kept + left out + refused."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nocturne.errors import DeliveryError
from nocturne.gates import gate_bronze
from nocturne.settings import Settings
from tests.integration.lake.worlds import Night
from tests.integration.presets.test_presets import NIGHT, REAL, needs_real, taken
from tests.packing import zipped
from tests.unit.bronze.test_sales_reports import BLOCK, SUMS, report

ERN = REAL / "ddex_ern"
MESSAGES = sorted(ERN.glob("*/*.xml"))
ALBUM = ERN / "Samples43" / "1 Audio.xml"


def ern(path: Path = ALBUM) -> str:
    return path.read_text(encoding="utf-8")


def counts_of(night: Night, dataset: str) -> tuple[int, ...]:
    """Rows delivered, left out, kept, duplicate and refused."""
    bronze = [mark.facts for mark in night.marks_of("bronze", dataset).values()]
    silver = [mark.facts for mark in night.marks_of("silver", dataset).values()]
    refused = len(night.rows("quarantine", dataset))
    kept, twice = sum(fact["rows"] for fact in silver), sum(fact["duplicates"] for fact in silver)
    return sum(fact["rows"] for fact in bronze), sum(fact["left_out"] for fact in bronze), kept, twice, refused


def told(content: str) -> dict[str, int]:
    """How many rows a message tells of each dataset, by another reading of it: the whole tree at once."""
    root = ElementTree.fromstring(content)
    recordings = [*root.iterfind("ResourceList/SoundRecording"), *root.iterfind("ResourceList/Video")]
    artists = [*recordings, *root.iterfind("ReleaseList/Release")]
    return {
        "tracks": len(recordings),
        "artists": sum(len(one.findall("DisplayArtist")) for one in artists),
        "releases": len(root.findall("ReleaseList/Release")),
    }


Held = dict[tuple[str | None, str | None], list[tuple[str, str]]]
"""Of each track and territory the first and last days of the deals."""


def deals(content: str) -> Held:
    """What the deals of a message say, by another reading of it."""
    root = ElementTree.fromstring(content)
    recordings = [*root.iterfind("ResourceList/SoundRecording"), *root.iterfind("ResourceList/Video")]
    heard = {one.findtext("ResourceReference"): one.findtext(".//ISRC") or one.findtext(".//ProprietaryId") for one in recordings}
    holds = {
        release.findtext("ReleaseReference"): [one.text for one in release.iter("ReleaseResourceReference")]
        for release in root.iterfind("ReleaseList/*")
    }
    found: Held = {}
    for deal in root.iterfind("DealList/ReleaseDeal"):
        tracks = {heard[ref] for release in deal.iterfind("DealReleaseReference") for ref in holds[release.text] if ref in heard}
        for terms in deal.iterfind("Deal/DealTerms"):
            span = terms.findtext("ValidityPeriod/StartDate") or "", terms.findtext("ValidityPeriod/EndDate") or "9999-12-31"
            for track in tracks:
                for territory in terms.iterfind("TerritoryCode"):
                    found.setdefault((track, territory.text), []).append(span)
    return found


@needs_real
@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_a_track_is_held_on_the_days_of_its_deals_and_once(settings: Settings, path: Path) -> None:
    night = taken(settings, "ddex_ern_4", {"a.xml": path.read_bytes()}, only=["rights"])
    told_of = deals(ern(path))
    assert counts_of(night, "rights")[4] == 0
    found: dict[tuple[str, str], list[tuple[date, date]]] = {}
    for row in night.rows("silver", "rights"):
        span = row["valid_from_on"], (row["valid_to_on"] or date(9999, 12, 31)) - timedelta(days=1)
        found.setdefault((row["track_id"], row["territory"]), []).append(span)
    assert set(found) == set(told_of)
    asked = {date.fromisoformat(day) + timedelta(days=by) for spans in told_of.values() for span in spans for day in span for by in (-1, 0)}
    for key, spans in told_of.items():
        for day in asked:
            is_held = any(first <= day.isoformat() <= last for first, last in spans) and day < date(9999, 12, 31)
            assert sum(first <= day <= last for first, last in found[key]) == is_held, (key, day)


@needs_real
def test_every_release_message_of_the_samples_is_read_whole(settings: Settings) -> None:
    assert len(MESSAGES) == 19
    night = taken(settings, "ddex_ern_4", {f"{path.parent.name}/{path.name}": path.read_bytes() for path in MESSAGES})
    expected = [told(ern(path)) for path in MESSAGES]
    for dataset in ("tracks", "artists", "releases"):
        delivered, left_out, kept, twice, refused = counts_of(night, dataset)
        assert delivered == sum(one[dataset] for one in expected) == left_out + kept + twice + refused, dataset
        assert kept > 0
        assert dataset == "releases" or refused == 0, dataset
    # Two of the samples, in both versions of the standard, carry product codes that were made up: their check digits are wrong.
    assert sorted(row["reasons"] for row in night.rows("quarantine", "releases")) == sorted(
        2 * [["upc: '05099907138655' is no UPC or EAN"], ["upc: '123123123123' is no UPC or EAN"]]
    )


@needs_real
def test_the_rows_of_an_album(settings: Settings) -> None:
    night = taken(settings, "ddex_ern_4", {"album.xml": ALBUM.read_bytes()})
    assert counts_of(night, "tracks") == (21, 0, 21, 0, 0)
    first = night.rows("silver", "tracks", "* EXCLUDE received_on", order="title = 'Yume no Lullaby' DESC LIMIT 1")[0]
    assert {name: value for name, value in first.items() if value is not None} == {
        "track_id": "JPTO09404900", "isrc": "JPTO09404900", "title": "Yume no Lullaby", "duration_ms": 148_000, "genre": "J-Pop",
        "release_id": "00094631432057", "artist_id": "659ce13c4419a54f733aabd73783e87c",
    }  # fmt: skip
    assert night.rows("silver", "artists", "artist_id, artist_name") == [{"artist_id": first["artist_id"], "artist_name": "Saeko Shu"}]
    assert gate_bronze(night.tenant, NIGHT, settings, night.marks).count("batches") == 4
    (release,) = night.rows("silver", "releases", "* EXCLUDE received_on")
    assert release == {
        "release_id": "00094631432057", "title": "Yume no Hajmari", "artist_id": first["artist_id"], "upc": "00094631432057",
        "release_type": "album", "label": "EMI MUSIC JAPAN INC.", "released_on": None,
    }  # fmt: skip
    # Two deals for each track, and one for the album, all for Japan from the same day: 21 rights.
    assert counts_of(night, "rights") == (21, 0, 21, 0, 0)
    right = night.rows("silver", "rights", "* EXCLUDE received_on", order="track_id = 'JPTO09404900' DESC LIMIT 1")[0]
    assert right == {
        "track_id": "JPTO09404900", "holder_id": "PADPIDA2013042401U", "territory": "JP", "valid_from_on": date(2004, 4, 1),
        "valid_to_on": None, "holder_name": "UniversalMusicGroup", "share_ratio": 1.0, "is_own": None,
    }  # fmt: skip


@needs_real
def test_parts_of_seconds_count(settings: Settings) -> None:
    single = ern(ERN / "Samples43" / "4 SimpleAudioSingle.xml")
    night = taken(settings, "ddex_ern_4", {"single.xml": single.encode()}, only=["tracks"])
    assert night.rows("silver", "tracks", "title, duration_ms") == [{"title": "RIOPY: I Love You", "duration_ms": 263_583}]


@needs_real
@pytest.mark.parametrize("end", ["<EndDate>2004-04-30</EndDate>", "<EndDateTime>2004-05-01T00:00:00Z</EndDateTime>"])
def test_a_deal_holds_through_its_last_day(settings: Settings, end: str) -> None:
    begun = "<StartDate>2004-04-01</StartDate>"
    night = taken(settings, "ddex_ern_4", {"a.xml": ern().replace(begun, begun + end).encode()}, only=["rights"])
    assert {row["valid_to_on"] for row in night.rows("silver", "rights")} == {date(2004, 5, 1)}


@needs_real
def test_elements_in_another_order_or_namespace_make_no_difference(settings: Settings) -> None:
    tree = ElementTree.fromstring(ern())
    for element in [*list(tree.iter("SoundRecording")), tree]:
        element[:] = element[::-1]
    for element in list(tree.iter()):
        element.tag = "{urn:other}" + element.tag.rpartition("}")[2]
    whole = taken(settings, "ddex_ern_4", {"a.xml": ALBUM.read_bytes()}, only=["tracks", "artists", "releases"])
    rows = {dataset: whole.rows("silver", dataset) for dataset in ("tracks", "artists", "releases")}
    shuffled = taken(settings, "ddex_ern_4", {"a.xml": ElementTree.tostring(tree)}, only=["tracks", "artists", "releases"])
    assert {dataset: shuffled.rows("silver", dataset) for dataset in rows} == rows


@needs_real
def test_bad_values_are_refused_one_by_one(settings: Settings) -> None:
    content = (
        ern()
        .replace("PT2M28S", "2:28", 1)
        .replace("JPTO09404910", "JP-TO0-94-4910", 1)
        .replace("<DisplayTitleText>-Haru- Soushunfu</DisplayTitleText>", "", 1)
        .replace("<TitleText>-Haru- Soushunfu</TitleText>", "", 1)
        .replace("<TitleText>-春-　早春賦</TitleText>", "", 1)
        .replace("PT1M22S", "PT0S", 1)
        .replace("<TerritoryCode>JP<", "<TerritoryCode>Nippon<", 1)
        .replace("<StartDate>2004-04-01<", "<StartDate>April<", 1)
    )
    night = taken(settings, "ddex_ern_4", {"a.xml": content.encode()})
    assert counts_of(night, "tracks") == (21, 0, 18, 0, 3)
    assert sorted(row["reasons"] for row in night.rows("quarantine", "tracks")) == [
        ["duration_ms: '2:28' is no whole number"],
        ["isrc: 'JPTO0944910' is no ISRC"],
        ["title: is missing"],
    ]
    unknown = [row["title"] for row in night.rows("silver", "tracks") if row["duration_ms"] is None]
    assert unknown == ["Dokoka de Haru ga"]
    assert counts_of(night, "rights") == (42, 0, 21, 0, 21)
    (reasons,) = {tuple(sorted(row["reasons"])) for row in night.rows("quarantine", "rights")}
    assert reasons == (
        "territory: 'NIPPON' is no ISO 3166-1 country, nor WW",
        "valid_from_on: 'April' is no date between the years 1900 and 9999",
    )


@needs_real
def test_pre_orders_are_left_out(settings: Settings) -> None:
    content = ern().replace("<TerritoryCode>", "<IsPreOrderDeal>true</IsPreOrderDeal><TerritoryCode>", 1)
    night = taken(settings, "ddex_ern_4", {"a.xml": content.encode()}, only=["rights"])
    assert counts_of(night, "rights") == (42, 21, 21, 0, 0)


@needs_real
def test_a_deal_that_leads_nowhere_or_to_all_but_some_territories_is_refused(settings: Settings) -> None:
    content = ern().replace(">R0</DealReleaseReference>", ">R99</DealReleaseReference>").replace("<TerritoryCode>JP<", "<X>JP<", 1)
    content = content.replace("<X>JP</TerritoryCode>", "<ExcludedTerritoryCode>JP</ExcludedTerritoryCode>")
    night = taken(settings, "ddex_ern_4", {"a.xml": content.encode()}, only=["rights"])
    assert counts_of(night, "rights") == (43, 0, 21, 0, 22)
    assert {tuple(row["reasons"]) for row in night.rows("quarantine", "rights")} == {
        ("territory: is missing",), ("track_id: is missing",),
    }  # fmt: skip


@needs_real
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda text: text[: len(text) // 2], r"a\.xml .* is damaged XML: .* \(line \d+\)"),
        (lambda text: text.replace("NewReleaseMessage", "PurgeReleaseMessage"), "has the root PurgeReleaseMessage"),
        (lambda text: text.replace("<ern:", '<!DOCTYPE a [<!ENTITY b "c">]><ern:', 1), "has a document type or entities"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused_whole(settings: Settings, content: Callable[[str], str], says: str) -> None:
    with pytest.raises(DeliveryError, match=says):
        taken(settings, "ddex_ern_4", {"a.xml": content(ern()).encode()})


@needs_real
@pytest.mark.parametrize(("preset", "name"), [("ddex_ern_4", "a.xml"), ("ddex_dsr", "a.tsv")])
def test_other_bytes_in_a_message_are_refused_or_add_up(settings: Settings, preset: str, name: str) -> None:
    """24 messages of each kind with a few other bytes, plain or packed, and 4 of noise."""
    chance, whole = random.Random(preset), ALBUM.read_bytes() if name == "a.xml" else dsr()
    packed = whole, gzip.compress(whole), zipped({name: whole})
    damaged = [bytearray(packed[turn % 3]) for turn in range(24)]
    for content in damaged:
        for _ in range(chance.randrange(1, 5)):
            content[chance.randrange(len(content))] = chance.randrange(128)
    noise = [chance.randbytes(5_000), bytes(5_000), b"\xff" * 5_000, whole[:1_000] + chance.randbytes(1_000)]
    outcomes = []
    for turn, content in enumerate([*damaged, *noise]):
        own = settings.model_copy(update={"var": settings.var / str(turn)})
        try:
            night = taken(own, preset, {name: bytes(content)})
        except DeliveryError as error:
            assert name in str(error)
            outcomes.append("refused")
            continue
        for dataset in night.tenant.datasets:
            delivered, left_out, kept, twice, refused = counts_of(night, dataset.name)
            assert delivered == left_out + kept + twice + refused
        outcomes.append("taken")
    assert set(outcomes[:24]) == {"refused", "taken"}
    assert set(outcomes[24:]) == {"refused"}


# sales reports ---------------------------------------------------------------------------------------------------------------------
USAGES = "DSR_TEST_YouTube_AdSupport-music_2015-Q4_IS_1of1_20160121T150926.tsv"


REPORTS = sorted((REAL / "ddex_dsr" / "samples").glob("*.tsv"))


def dsr() -> bytes:
    return (REAL / "ddex_dsr" / "samples" / USAGES).read_bytes()


@needs_real
def test_a_report_whose_records_are_of_another_version_than_it_claims(settings: Settings) -> None:
    assert dsr().startswith(b"HEAD\tdsrf/30\tUGCProfile\t1.0\t") and b"\nSU03.01\t" in dsr()
    night = taken(settings, "ddex_dsr", {USAGES: dsr()})
    lines = [line.split("\t")[0] for line in dsr().decode().splitlines()]
    rows = sum(code.startswith(("SU", "RU", "LI")) for code in lines)
    assert counts_of(night, "sales") == (rows, rows, 0, 0, 0)
    assert counts_of(night, "statements") == (15, 9, 6, 0, 0)
    columns = "line_id, period_ends_on, track_id, isrc, service, country, stream_count, net_amount::VARCHAR AS amount, currency"
    assert [tuple(row.values()) for row in night.rows("silver", "statements", columns, order="line_id")] == [
        (f"1453417766009915-{line}", date(2015, 12, 31), isrc, isrc, "YouTube", "IS", streams, amount, "USD")
        for line, isrc, streams, amount in [
            ("1-U1", "USSM19803037", 7810, "2.000000"),
            ("2-U1", "USUV71101875", 2045, "2.000000"),
            ("3-U1", "USRH10903879", 18, "0.000000"),
            ("3-U2", "USRH10903879", 4, "0.000000"),
            ("3-U3", "USRH10903879", 258, "0.000000"),
            ("3-U4", "USRH10903879", 75, "3.000000"),
        ]
    ]


@needs_real
@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem[-40:])
def test_a_report_of_the_samples_is_taken_if_it_has_all_lines_of_which_its_foot_tells(settings: Settings, path: Path) -> None:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    has, says = len(lines), int(lines[-1][1])
    if path.name == USAGES:
        assert has == says
        assert counts_of(taken(settings, "ddex_dsr", {path.name: path.read_bytes()}), "statements")[0] == 15
        return
    with pytest.raises(DeliveryError, match=rf"says {says} in NumberOfLinesInFile of its foot, but has {has} \(line {has}\)"):
        taken(settings, "ddex_dsr", {path.name: path.read_bytes()})


@needs_real
def test_a_report_without_its_end_is_refused(settings: Settings) -> None:
    with pytest.raises(DeliveryError, match=r"a\.tsv .*ends without a foot \(line \d+\)"):
        taken(settings, "ddex_dsr", {"a.tsv": dsr()[:3000]}, only=["statements"])


@needs_real
def test_bad_values_of_a_report_are_refused_one_by_one(settings: Settings) -> None:
    content = (
        dsr()
        .replace(b"\t7810\t2.0\t", b"\t7810.5\t2.0\t")
        .replace(b"USUV71101875", b"USUV7110187")
        .replace(b"U2\t1\tXMhY7hsbhs4\t4\t0.0", b"U2\t1\tXMhY7hsbhs4\t4\tnothing")
        .replace(b"U3\t1\tXMhY7hsbhs4\t258\t0.0", b"U3\t9\tXMhY7hsbhs4\t258\t0.0")
        .replace(b"SU03.01\t3\tU4\t", b"SU03.01\t3\t\xff4\t")
    )
    night = taken(settings, "ddex_dsr", {"a.tsv": content}, only=["statements"])
    assert counts_of(night, "statements") == (15, 8, 1, 0, 6)
    assert sorted(row["reasons"][0] for row in night.rows("quarantine", "statements")) == [
        "currency: is missing",  # it names a sum that is not there
        "isrc: 'USUV7110187' is no ISRC",
        "net_amount: 'nothing' is no amount",
        "row: is no UTF-8",
        "row: is no UTF-8",  # a claim on it
        "stream_count: '7810.5' is no whole number",
    ]


BASIC = report(*SUMS, *BLOCK, "SU02\tB1\t1\tT3\t\tA1\ttrue\t100")
RECORD_COMPANY = "\n".join(
    "\t".join(cells)
    for cells in [
        ["SRHE", "dsrf/30", "FinancialReportingToRecordCompaniesProfileSRB", "1.0", "M2", "2026-02-01T00:00:00Z", "1", "1", "2026-01-01", "2026-01-31", "P", "Shop"],
        ["SY10", "1", "", "", "SubscriptionModel", "Stream", "2026-01-01", "2026-01-31", "", "", "", "", "SE", *[""] * 4, "0", "0", "", "SEK", "EUR"],
        ["SY10", "2", "", "", "PayAsYouGoModel", "PermanentDownload", "2026-01-01", "2026-01-31", "", "", "", "", "SE", *[""] * 4, "0", "0", "", "SEK", "EUR"],
        *(
            ["SR08", f"T{at}", "", "5016958000000", "rel", *[""] * 8, "GBAAA9700001", "", "res", *[""] * 8, str(at), "2026-01-07", "9", "1", "8", *[""] * 11,
            "100", "1", "0.1", "10", "1", "9.5", f"0.{at}5", "false"]
            for at in (1, 2)
        ),
        ["SRFO", "6", "2"],
    ]
).encode()  # fmt: skip


def test_downloads_are_sales(settings: Settings) -> None:
    night = taken(settings, "ddex_dsr", {"a.tsv": BASIC}, only=["sales"])
    assert counts_of(night, "sales") == (3, 1, 2, 0, 0)
    columns = "sale_id, sold_on, release_id, track_id, unit_count, net_amount::VARCHAR AS amount, currency, country, format"
    assert [tuple(row.values()) for row in night.rows("silver", "sales", columns, order="sale_id")] == [
        ("M1-B1-T1", date(2026, 1, 31), "5016958000000", None, 9, "71.910000", "GBP", "GB", "album_download"),
        ("M1-B1-T2", date(2026, 1, 31), "5016958000000", "GBAAA9700002", 3, "2.970000", "EUR", "FR", "track_download"),
    ]


def test_a_record_company_s_report_is_parted_into_downloads_and_streams(settings: Settings) -> None:
    night = taken(settings, "ddex_dsr", {"a.tsv": RECORD_COMPANY})
    assert (counts_of(night, "sales"), counts_of(night, "statements")) == ((2, 1, 1, 0, 0), (2, 1, 1, 0, 0))
    (line,) = night.rows("silver", "statements", "line_id, isrc, stream_count, net_amount::VARCHAR AS amount, currency, country")
    assert tuple(line.values()) == ("M2-T1-res", "GBAAA9700001", 8, "0.150000", "EUR", "SE")
    (sale,) = night.rows("silver", "sales", "sold_on, release_id, track_id, unit_count, net_amount::VARCHAR AS amount, format")
    assert tuple(sale.values()) == (date(2026, 1, 7), "5016958000000", "GBAAA9700001", 8, "0.250000", "track_download")
