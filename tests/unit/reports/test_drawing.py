"""Drawings carry no random names."""

from __future__ import annotations

from nocturne.reports.drawing import _same_ids


def test_only_names_and_references_to_them_are_rewritten() -> None:
    drawn = (
        '<svg><defs id="defs-482910"><clipPath id="clip482910xy"/></defs><path d="M0,482910" style="fill: url(\'#g482910-cb\');"/>'
        "<text>482910</text><g clip-path=\"url('#clip482910xy')\"/></svg>"
    )
    assert _same_ids("top_tracks", drawn).decode() == (
        '<svg><defs id="defs-toptracks"><clipPath id="cliptoptracksxy"/></defs><path d="M0,482910" style="fill: url(\'#gtoptracks-cb\');"/>'
        "<text>482910</text><g clip-path=\"url('#cliptoptracksxy')\"/></svg>"
    )


def test_a_drawing_without_random_names_stays_as_it_is() -> None:
    assert _same_ids("x", "<svg/>") == b"<svg/>"
