"""YAML read strictly: every value knows its file and line, and what is not exactly right is refused there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nocturne.errors import SettingsError


@dataclass(frozen=True)
class Node:
    """One value of a document, and where it stands."""

    file: str
    node: yaml.Node
    next_step: str

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.node.start_mark.line + 1}"

    def fail(self, what: str) -> SettingsError:
        """The error that says what is wrong here."""
        return SettingsError(f"{self.place}: {what}.", next_step=self.next_step)

    def value(self) -> Any:
        """The value as Python's."""
        return yaml.constructor.SafeConstructor().construct_object(self.node, deep=True)

    def text(self) -> str:
        """The value, which must be a text that says something."""
        value = self.value()
        if not isinstance(value, str) or not value.strip():
            raise self.fail(f"a text is wanted, not {value!r}")
        return value

    def word(self, known: Collection[str], what: str) -> str:
        """The value, which must be one of the known words."""
        word = self.text()
        if word not in known:
            raise self.fail(f"there is no {what} {word!r}; there are {', '.join(known)}")
        return word

    def whole(self) -> int:
        """The value, which must be a whole number from 1."""
        value = self.value()
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fail(f"a whole number from 1 is wanted, not {value!r}")
        return value

    def fields(self, *, allowed: Collection[str] | None = None, required: Collection[str] = ()) -> dict[str, Node]:
        """The fields of a mapping; refuses unknown, missing and repeated ones."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.fail("a mapping is wanted")
        found: dict[str, Node] = {}
        for key, value in self.node.value:
            if key.value in found:
                raise self._at(key).fail(f"{key.value!r} stands twice")
            if allowed is not None and key.value not in allowed:
                raise self._at(key).fail(f"there is no field {key.value!r}; there are {', '.join(allowed)}")
            found[key.value] = self._at(value)
        if missing := [name for name in required if name not in found]:
            raise self.fail(f"the fields {', '.join(missing)} are missing")
        return found

    def items(self) -> Iterator[Node]:
        """The items of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.fail("a list is wanted")
        return (self._at(item) for item in self.node.value)

    def texts(self) -> tuple[str, ...]:
        """The items of a list of texts."""
        return tuple(item.text() for item in self.items())

    def _at(self, node: yaml.Node) -> Node:
        return Node(self.file, node, self.next_step)


def read_document(path: Path, *, root: Path, next_step: str) -> Node:
    """The document of a file, told of by its path below `root`, the same wherever the installation stands.

    Raises SettingsError with file and line; `next_step` is what whoever wrote it is told.
    """
    file = path.relative_to(root).as_posix()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.", next_step=next_step) from error
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise SettingsError(f"{file}:{line}: {getattr(error, 'problem', None) or error}.", next_step="Correct the file.") from error
    if node is None:
        raise SettingsError(f"{file}:1: the file is empty.", next_step=next_step)
    return Node(file, node, next_step)
