"""The command line, called as a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from nocturne import cli
from nocturne.datasets import DATASETS
from nocturne.tenants import load_tenant

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tenants' folder of an installation of this test's own."""
    monkeypatch.setenv("NOCTURNE_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("NOCTURNE_TENANTS", str(tmp_path / "tenants"))
    (tmp_path / "tenants").mkdir()
    return tmp_path / "tenants"


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: exit code, standard output, standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([*command.words.split(), "--help"])
        assert ended.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert shown.startswith(f"usage: nocturne {command.words}")
        assert " ".join((command.run.__doc__ or "").split()[:4]) in shown


def test_help_imports_nothing_that_costs_time() -> None:
    code = "import sys\nfrom nocturne import cli\ntry: cli.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert not {"pydantic", "yaml", "rich", "sqlglot", "airflow", "duckdb", "psycopg"} & set(done.stdout.split())


def test_a_new_tenants_file_is_valid_and_says_what_was_asked_for(run: Run, folder: Path) -> None:
    code, out, _ = run(
        "tenants", "new", "dusk", "--name", 'Dusk: "late" # no comment', "--time-zone", "Asia/Tokyo", "--currency", "JPY", "--tier", "free",
        "--begins-on", "2026-01-02",
    )  # fmt: skip
    assert code == 0
    tenant = load_tenant(folder / "dusk.yml")
    assert (tenant.name, tenant.time_zone[0].value, tenant.currency) == ('Dusk: "late" # no comment', "Asia/Tokyo", "JPY")
    assert (tenant.tier, tenant.begins_on, tenant.slug) == ("free", date(2026, 1, 2), "dusk")
    assert f"nocturne tenants check {folder / 'dusk.yml'}" in out
    assert run("tenants", "check")[0] == 0


def test_what_the_starter_explains_is_valid_too(run: Run, folder: Path) -> None:
    """Taking the comment signs away from the optional parts leaves a valid file."""
    run("tenants", "new", "dusk")
    path = folder / "dusk.yml"
    lines = path.read_text().splitlines()
    options = ("# rules", "#   s", "    # deadline", "    # columns", "    # map", "    #   ", "    # where", "  # - name", "  #   ")
    path.write_text("\n".join(line.replace("# ", "", 1) if line.startswith(options) else line for line in lines))
    tenant = load_tenant(path)
    assert [source.name for source in tenant.sources] == ["plays", "tracks", "payments"]
    assert tenant.sources[0].map["track_id"] == "song_id"
    assert [rule.value for rule in tenant.rules.session_gap_seconds] == [1800, 1200]


def test_an_existing_tenant_is_never_overwritten(run: Run, folder: Path) -> None:
    (folder / "dusk.yml").write_text("mine")
    code, _, err = run("tenants", "new", "dusk")
    assert (code, (folder / "dusk.yml").read_text()) == (1, "mine")
    assert "is there already" in err


@pytest.mark.parametrize(
    "words", [("../evil",), ("Dusk",), ("pg_dusk",), ("dusk", "--time-zone", "Mars/Base"), ("dusk", "--currency", "euro")]
)
def test_a_wrong_tenant_is_not_written(run: Run, folder: Path, words: tuple[str, ...]) -> None:
    code, _, err = run("tenants", "new", *words)
    assert code == 1
    assert "Next: " in err
    assert not list(folder.parent.rglob("*.yml"))


def test_every_error_of_every_file_is_told_with_its_line(run: Run, folder: Path) -> None:
    run("tenants", "new", "right")
    text = (folder / "right.yml").read_text()
    (folder / "wrong.yml").write_text(text.replace("UTC", "Mars").replace("kind: files", "kind: pigeon", 1))
    (folder / "twice.yml").write_text(text + "\nname: again\n")
    (folder / "notes.yaml").write_text("")
    code, out, err = run("tenants", "check")
    lines = text.splitlines()
    assert code == 1
    assert out == "1 right, 2 broken\n"
    zone, kind = lines.index('time_zone: "UTC"') + 1, lines.index("    kind: files") + 1
    assert f"{folder}/wrong.yml:{zone}: time_zone" in err
    assert f"{folder}/wrong.yml:{kind}: sources.0.kind" in err
    assert f"{folder}/twice.yml:{len(lines) + 2}: name stands twice" in err
    assert "notes.yaml: is no tenant" in err
    assert run("tenants", "check", str(folder / "right.yml"))[:2] == (0, "1 right, 0 broken\n")
    assert run("tenants", "check", str(folder / "wrong.yml"))[0] == 1
    assert run("tenants", "check", str(folder / "absent.yml"))[0] == 1


def test_tenants_and_datasets_are_listed(run: Run) -> None:
    run("tenants", "new", "dusk", "--name", "Dusk")
    assert "dusk   Dusk   pro    UTC" in run("tenants", "list")[1]
    listed = run("datasets")[1]
    assert all(name in listed for name in DATASETS)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_schema_of_every_dataset_is_a_json_schema(run: Run, dataset: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(run("schema", dataset)[1]))


def test_an_unknown_name_is_answered_with_the_known_ones(run: Run) -> None:
    assert run("schema", "plais") == (1, "", f"There is no dataset 'plais'. Next: Choose one of {', '.join(DATASETS)}.\n")
    code, _, err = run("run", "refine_gold", "dusk")
    assert code == 1
    assert "refine_silver" in err
    assert run("run", "land", "nobody")[0] == 1


def test_settings_show_where_they_come_from_and_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nocturne.toml").write_text("threads = 3\n")
    monkeypatch.setenv("NOCTURNE_SETTINGS", str(tmp_path / "nocturne.toml"))
    monkeypatch.setenv("NOCTURNE_MASTER_KEY", "5a" * 32)
    monkeypatch.setenv("NOCTURNE_MLFLOW_TRACKING_URI", "postgresql://me:hush@host/mlflow")
    monkeypatch.setenv("NOCTURNE_AIRFLOW_PROT", "1")
    code, out, err = run("settings")
    rows = {line.split()[0]: line for line in out.splitlines()[2:]}
    assert code == 0
    assert rows["threads"].split()[:3] == ["threads", "3", str(tmp_path / "nocturne.toml")]
    assert rows["master_key"].split()[1:4] == ["(not", "shown)", "NOCTURNE_MASTER_KEY"]
    assert rows["lease_seconds"].split()[1:3] == ["120", "default"]
    assert rows["lake"].split()[1] == str(tmp_path / "var/lake")
    assert "5a5a" not in out
    assert "hush" not in out
    assert err == "warning: NOCTURNE_AIRFLOW_PROT is set, and no setting has that name\n"


def test_wrong_settings_end_in_one_message(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCTURNE_THREADS", "many")
    code, out, err = run("settings")
    assert (code, out) == (1, "")
    assert err.startswith("The settings are wrong: threads:")
