"""YAML that knows where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from nocturne.errors import SettingsError
from nocturne.nodes import Node, read_document


def document(folder: Path, text: str) -> Node:
    path = folder / "rules" / "some.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return read_document(path, root=folder, next_step="Mend it.")


def test_every_value_knows_its_file_and_line(tmp_path: Path) -> None:
    fields = document(tmp_path, "a: x\nb:\n  - one\n  - 2\n").fields(allowed=("a", "b"), required=("a",))
    assert fields["a"].text() == "x"
    assert [item.place for item in fields["b"].items()] == ["rules/some.yml:3", "rules/some.yml:4"]
    assert str(fields["a"].fail("it is wrong")) == "rules/some.yml:1: it is wrong. Next: Mend it."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n", "rules/some.yml:1: a mapping is wanted"),
        ("a: 1\na: 2\n", "rules/some.yml:2: 'a' stands twice"),
        ("b: 1\n", "rules/some.yml:1: there is no field 'b'; there are a"),
        ("{}\n", "rules/some.yml:1: the fields a are missing"),
        ("", "rules/some.yml:1: the file is empty"),
        ("a: 1\nb: [\n", "rules/some.yml:3: did not find"),
    ],
)
def test_what_is_not_a_mapping_of_these_fields_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        document(tmp_path, text).fields(allowed=("a",), required=("a",))
    assert refused.value.what.startswith(says)


@pytest.mark.parametrize(
    ("text", "says"), [("a: 1", "a text is wanted, not 1"), ("a: ''", "a text is wanted"), ("a: [x]", "a text is wanted")]
)
def test_a_text_is_a_text(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        document(tmp_path, text).fields()["a"].text()


@pytest.mark.parametrize("text", ["a: x", "a: 0", "a: true", "a: 1.5"])
def test_a_whole_number_is_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="a whole number from 1 is wanted"):
        document(tmp_path, text).fields()["a"].whole()


def test_a_word_is_one_of_those_known(tmp_path: Path) -> None:
    node = document(tmp_path, "a: x").fields()["a"]
    assert node.word(("x", "y"), "letter") == "x"
    with pytest.raises(SettingsError, match="there is no letter 'x'; there are y, z"):
        node.word(("y", "z"), "letter")


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"rules/none.yml cannot be read"):
        read_document(tmp_path / "rules" / "none.yml", root=tmp_path, next_step="Write it.")
