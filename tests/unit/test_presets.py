"""Presets: every file of theirs is a right source, and what a tenant says beside a preset wins or narrows it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nocturne import presets
from nocturne.errors import TenantError
from nocturne.tenants import Tenant, read_tenant

HEAD = "name: Dusk\ntime_zone: Europe/Paris\ncurrency: EUR\nbegins_on: 2026-01-01\nsources:\n"
HISTORY = "  - name: history\n    preset: spotify_extended\n    location: spotify/*.json\n"
WHOSE = "    map: {listener_id: \"'alice'\"}\n"


def tenant_of(text: str) -> Tenant:
    return read_tenant(HEAD + text, Path("dusk.yml"))


def wrong(text: str) -> str:
    with pytest.raises(TenantError) as caught:
        tenant_of(text)
    return caught.value.what


@pytest.mark.parametrize("name", presets.names())
def test_the_lines_that_a_preset_shows_are_right_as_they_stand(name: str) -> None:
    preset = presets.preset(name)
    tenant = tenant_of("".join(f"  {line}\n" for line in preset.example.splitlines()))
    assert [source.dataset for source in tenant.sources] == list(preset.parts)
    assert all(source.map for source in tenant.sources)


def test_a_preset_of_several_datasets_becomes_a_source_of_each() -> None:
    tenant = tenant_of(HISTORY + WHOSE)
    assert [(s.name, s.dataset, s.location) for s in tenant.sources] == [
        ("history_plays", "plays", "spotify/*.json"),
        ("history_tracks", "tracks", "spotify/*.json"),
        ("history_artists", "artists", "spotify/*.json"),
    ]
    assert tenant.sources[0].map["listener_id"] == "'alice'"
    assert "listener_id" not in tenant.sources[1].map


def test_what_the_tenant_says_wins_and_a_condition_narrows() -> None:
    more = "    where: ms_played > 0\n    only: [plays]\n    deadline: '05:00'\n    map: {listener_id: username, platform: null}\n"
    (source,) = tenant_of(HISTORY + more).sources
    assert source.name == "history_plays"
    assert source.where == "(spotify_track_uri is not null) and (ms_played > 0)"
    assert (source.map["listener_id"], source.map["platform"], source.map["ms_played"]) == ("username", "NULL", "ms_played")
    assert source.deadline is not None


def test_a_column_that_is_mapped_is_not_estimated() -> None:
    text = "  - {name: s, preset: lastfm_scrobbles, location: a, only: [plays], map: {listener_id: \"'a'\", ms_played: '180000'}}\n"
    assert tenant_of(text).sources[0].estimate == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HISTORY, "dusk.yml:6: sources.0: this delivery does not tell listener_id (whose history it is"),
        (HISTORY.replace("extended", "expanded"), "dusk.yml:6: sources.0: there is no preset 'spotify_expanded'; there are "),
        (HISTORY + "    map: {listener: a}\n", "none of the datasets plays, tracks, artists has the columns ['listener']"),
        (HISTORY + WHOSE + "    only: [rights]\n", "`only` is a list of the datasets that preset spotify_extended fills"),
        (HISTORY + WHOSE + "    only: [{plays: 1}]\n", "`only` is a list of the datasets"),
        (HISTORY + WHOSE + "    only: []\n", "`only` is a list of the datasets"),
        (HISTORY + "    map: {1: a, b: c, listener_id: d}\n", "has the columns ['1', 'b']"),
        (HISTORY + "    map: [a]\n", "`map` is a mapping of names to values"),
        (HISTORY + WHOSE + "    where: {a: b}\n", "sources.0.where: "),
        (HISTORY + WHOSE + "    dataset: plays\n", "a preset says itself which datasets it fills"),
        (HISTORY + WHOSE + "    where: secret(a)\n", "dusk.yml:10: sources.0.where: "),
        (HISTORY + WHOSE + "    colour: blue\n", "dusk.yml:10: sources.0.colour: Extra inputs are not permitted"),
        (HISTORY + "    map:\n      listener_id: \"'a'\"\n      track_id: now()\n", "dusk.yml:11: sources.0.map.track_id: "),
        (HISTORY + WHOSE + "  - {name: b, dataset: plays}\n", "dusk.yml:10: sources.1.kind: Field required"),
    ],
)
def test_what_is_wrong_is_told_at_its_own_line_and_once(text: str, told: str) -> None:
    said = wrong(text)
    assert told in said
    lines = said.splitlines()
    assert len(lines) == len(set(lines))


def test_the_files_hold_nothing_that_their_reader_would_not_show() -> None:
    for name in presets.names():
        preset = presets.preset(name)
        assert preset.title
        assert preset.reads
        assert isinstance(yaml.safe_load(preset.example), list)
