"""Paths into XML documents, and the declarations that use them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nocturne.elements import Elements, Path, Step, path_of


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (".", Path(0, (), None, ())),
        ("ResourceId/ISRC", Path(0, (Step("ResourceId"), Step("ISRC")), None, ())),
        ("../../DealReleaseReference", Path(2, (Step("DealReleaseReference"),), None, ())),
        ("@Namespace", Path(0, (), "Namespace", ())),
        ("Group//Item/@Id", Path(0, (Step("Group"), Step("Item", is_deep=True)), "Id", ())),
        ("*/Title[@Type=a/b]", Path(0, (Step("*"), Step("Title", asked="@Type", value="a/b")), None, ())),
        (
            "Artist[Role=Main]/Ref -> names -> ids",
            Path(0, (Step("Artist", asked="Role", value="Main"), Step("Ref")), None, ("names", "ids")),
        ),
    ],
)
def test_a_path_is_read(text: str, path: Path) -> None:
    assert path_of(text) == path


@pytest.mark.parametrize(
    "text", ["", "/a", "a/", "a///b", "a b", "a/../b", "@a/b", "a[b]", "a ->", "-> a", "a -> b/c", "1a", "../" * 21 + "a"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        path_of(text)


RIGHT: dict[str, Any] = {"records": "List/Item", "paths": {"id": "Id"}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paths": {}}, "at least 1 item"),
        ({"paths": {"id": []}}, "at least 1 item"),
        ({"paths": {"id": "a b"}}, "is no path"),
        ({"records": "../Item"}, "leads to no elements from the document's root"),
        ({"records": "Item/@id"}, "leads to no elements"),
        ({"each": ["other"]}, "each: there are no paths for other"),
        ({"spans": ["id", "to"]}, "spans: there are no paths for to"),
        ({"paths": {"id": "Id -> names"}}, "there are no lookups names"),
        ({"paths": {"id": "../../../Id"}}, "a path leads out of the document"),
        ({"lookups": {"a": {"records": "A", "key": "../Id", "value": "."}}}, "key and value stand within their own element"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_declaration_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Elements.model_validate({**RIGHT, **change})


def test_one_place_or_path_needs_no_list() -> None:
    declared = Elements.model_validate(RIGHT)
    assert (declared.records, declared.paths["id"]) == (("List/Item",), ("Id",))
