"""The Dockerfile is right without a Docker engine: its stages, what it copies, whom it runs as, and what it must bring along."""

from __future__ import annotations

import fnmatch
import re
import shlex
from dataclasses import dataclass, field
from typing import Final

import pytest

from nocturne.installation.tools import TOOLS
from tests.integration.compose.compose_file import PROJECT, interpolate, resolved
from tests.integration.compose.test_compose_file import SECRETS

_INSTRUCTIONS: Final = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "CMD"}
OURS = {name: document for name, document in resolved(SECRETS)["services"].items() if "build" in document}


@dataclass
class Stage:
    """One stage: the image that it begins with, and its instructions in their order."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """What every such instruction says."""
        return [rest for name, rest in self.instructions if name == instruction]


def read_stages(text: str) -> dict[str, Stage]:
    """The stages of a Dockerfile by name. Comments go, continued lines are joined, arguments before the first stage are filled in."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).replace("\\\n", " ").splitlines()
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for line in filter(str.strip, lines):
        instruction, rest = line.split(None, 1)
        assert instruction in _INSTRUCTIONS, line
        if instruction == "FROM":
            found = re.fullmatch(r"(\S+) AS (\S+)", rest)
            assert found, f"a stage without a name: {line}"
            current = stages[found[2]] = Stage(found[2], str(interpolate(found[1], arguments)))
        elif current is None:
            assert instruction == "ARG", line
            arguments |= dict([rest.split("=", 1)])
        else:
            current.instructions.append((instruction, " ".join(rest.split())))
    return stages


STAGES = read_stages((PROJECT / "Dockerfile").read_text())
IMAGE = STAGES["nocturne"]


def test_every_service_of_ours_is_built_from_the_last_stage() -> None:
    assert list(STAGES)[-1] == IMAGE.name
    assert {document["build"]["target"] for document in OURS.values()} == {IMAGE.name}
    assert {document["image"] for document in OURS.values()} == {"nocturne:0.1.0"}


def test_every_stage_begins_with_the_same_whole_version_of_python() -> None:
    (base,) = {stage.base for stage in STAGES.values()}
    assert re.fullmatch(r"python:3\.1[12]\.\d+-slim-bookworm", base)


def test_packages_are_installed_by_hash_and_without_those_of_development() -> None:
    install = next(run for run in STAGES["packages"].all("RUN") if "uv pip install" in run)
    flags = {"--require-hashes", "--constraints requirements.lock", "--requirements pyproject.toml"}
    assert {flag for flag in flags if flag in install} == flags
    assert "--extra" not in install
    assert re.search(r"^ARG UV=\d+\.\d+\.\d+$", (PROJECT / "Dockerfile").read_text(), re.M)


def test_the_image_has_every_library_that_its_packages_do_not_bring() -> None:
    install = next(run for run in IMAGE.all("RUN") if "apt-get install" in run)
    installed = set(shlex.split(install))
    assert {package for tool in TOOLS for package in tool.packages} <= installed
    assert "libgomp1" in installed  # lib_lightgbm.so needs libgomp.so.1, and its wheel does not bring it
    assert {"--no-install-recommends", "/var/lib/apt/lists/*"} <= installed


def test_no_process_runs_as_root_and_the_code_is_not_its_own() -> None:
    assert IMAGE.all("USER") == ["nocturne"]
    after = [name for name, _ in IMAGE.instructions].index("USER")
    assert not any(name in {"COPY", "RUN"} for name, _ in IMAGE.instructions[after:])
    assert not any("--chown" in copy for copy in IMAGE.all("COPY"))
    assert any("useradd --uid 10001" in run for run in IMAGE.all("RUN"))


def test_what_is_copied_is_there_and_goes_to_the_builder() -> None:
    ignored = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for stage in STAGES.values():
        for copy in stage.all("COPY"):
            *parts, _target = copy.split()
            if parts[0].startswith("--from="):
                assert parts[0].removeprefix("--from=") in STAGES
                continue
            for source in parts:
                assert (PROJECT / source).exists(), source
                assert f"!{source}" in ignored, f"{source} is left out by .dockerignore"


@pytest.mark.parametrize("name", [".env", "var/secrets/master.key", ".git/config", "nocturne.toml", "tests/conftest.py"])
def test_neither_state_nor_secrets_go_to_the_builder(name: str) -> None:
    lines = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    is_left_out = False
    for line in lines:
        pattern = line.removeprefix("!")
        if fnmatch.fnmatch(name.split("/", maxsplit=1)[0], pattern) or fnmatch.fnmatch(name, pattern):
            is_left_out = not line.startswith("!")
    assert is_left_out


def test_every_folder_of_the_settings_is_the_users_own() -> None:
    """Docker gives a new named volume the owner of the folder it is mounted on; a folder that is not in the image would be root's."""
    made = next(run for run in IMAGE.all("RUN") if "install --directory" in run)
    own = {part for part in shlex.split(made) if part.startswith(("/var/", "/srv/"))}
    assert "--owner nocturne --group nocturne" in made
    mounted = {
        str(volume).split(":")[1]
        for document in OURS.values()
        for volume in document.get("volumes", ())
        if not str(volume).startswith((".", "/"))
    }
    environments = [document["environment"] for document in OURS.values()]
    told = {told[key] for told in environments for key in ("NOCTURNE_VAR", "AIRFLOW_HOME") if key in told}
    assert mounted | told <= own


def test_programs_find_the_code_where_the_image_has_it() -> None:
    (folder,) = IMAGE.all("WORKDIR")
    for document in OURS.values():
        for path in document["environment"]["PYTHONPATH"].split(":"):
            relative = path.removeprefix(folder).strip("/")
            assert path.startswith(folder)
            assert relative in {"", "plugins"}
    worker = OURS["worker"]["environment"]
    assert worker["AIRFLOW__CORE__DAGS_FOLDER"] == f"{folder}/dags"
    assert worker["AIRFLOW__CORE__PLUGINS_FOLDER"] == f"{folder}/plugins"
