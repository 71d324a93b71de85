"""docker-compose.yml as Docker Compose reads it: anchors and merges, variables, environment files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[3]
COMPOSE_FILE = PROJECT / "docker-compose.yml"

# $$, $NAME, ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?message}, ${NAME?message}
_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-?])(?P<rest>[^{}]*))?\})")


class MissingVariable(Exception):
    """A required variable is not set: Docker Compose refuses to go on."""


@dataclass(frozen=True)
class Service:
    """One service: its document, and what follows from it."""

    name: str
    document: Mapping[str, Any]
    environment: Mapping[str, str]

    @property
    def command(self) -> list[str]:
        """Program and arguments."""
        return [str(part) for part in self.document["command"]]

    @property
    def health_check(self) -> list[str]:
        """Program and arguments of its health check."""
        kind, *rest = self.document["healthcheck"]["test"]
        return ["sh", "-c", *rest] if kind == "CMD-SHELL" else rest

    @property
    def is_one_shot(self) -> bool:
        """It ends when its work is done."""
        return self.document.get("restart") == "no"


def raw() -> dict[str, Any]:
    """The document with its anchors resolved and its variables as they are written."""
    return dict(yaml.safe_load(COMPOSE_FILE.read_text()))


def resolved(variables: Mapping[str, str]) -> dict[str, Any]:
    """The document with its variables replaced. Raises MissingVariable."""
    document = interpolate(raw(), variables)
    assert isinstance(document, dict)
    return document


def services(variables: Mapping[str, str]) -> dict[str, Service]:
    """All services by name, with the environment that their processes get. Raises MissingVariable."""
    found = {}
    for name, document in resolved(variables)["services"].items():
        environment: dict[str, str] = {}
        for path in document.get("env_file", ()):
            environment |= environment_file(PROJECT / path)
        environment |= {key: str(value) for key, value in document.get("environment", {}).items()}
        found[name] = Service(name, document, environment)
    return found


def environment_file(path: Path) -> dict[str, str]:
    """NAME=value lines; comments and empty lines are left out."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace the variables in every text of a document. `$$` becomes `$`."""
    match value:
        case str():
            return _VARIABLE.sub(lambda found: _value(found, variables), value)
        case dict():
            return {key: interpolate(item, variables) for key, item in value.items()}
        case list():
            return [interpolate(item, variables) for item in value]
        case _:
            return value


def mentioned(value: Any) -> dict[str, set[str]]:
    """Every variable that a document mentions, and the operators by which it does (`:?`, `:-`, or empty)."""
    found: dict[str, set[str]] = {}
    for text in _texts(value):
        for match in _VARIABLE.finditer(text):
            if not match["escaped"]:
                found.setdefault(match["plain"] or match["name"], set()).add(match["operator"] or "")
    return found


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case list():
            return [text for item in value for text in _texts(item)]
        case _:
            return []


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["escaped"]:
        return "$"
    name, operator, rest = found["plain"] or found["name"], found["operator"] or "", found["rest"] or ""
    value = variables.get(name)
    if value is None or (value == "" and operator.startswith(":")):
        if operator.endswith("?"):
            raise MissingVariable(f"{name}: {rest}")
        return rest if operator.endswith("-") else ""
    return value
