"""Settings: what goes over what, what is refused, and what derives from the master key."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nocturne.errors import SettingsError
from nocturne.settings import PROJECT, Settings, load_settings, origins

KEY = "5a" * 32


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests reaches them."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"NOCTURNE_{name.upper()}", raising=False)
    (tmp_path / "nocturne.toml").touch()
    monkeypatch.setenv("NOCTURNE_SETTINGS", str(tmp_path / "nocturne.toml"))
    monkeypatch.setenv("NOCTURNE_VAR", str(tmp_path / "var"))


def test_the_environment_goes_over_the_file_and_the_file_over_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nocturne.toml").write_text("threads = 3\nparallelism = 4\n")
    monkeypatch.setenv("NOCTURNE_PARALLELISM", "5")
    monkeypatch.setenv("NOCTURNE_LEASE_SECONDS", "")
    settings = load_settings()
    assert (settings.threads, settings.parallelism, settings.lease_seconds) == (3, 5, 120)
    assert load_settings(parallelism=6).parallelism == 6
    told = origins()
    assert (told["parallelism"], told["threads"], told["lease_seconds"]) == (
        "NOCTURNE_PARALLELISM",
        str(tmp_path / "nocturne.toml"),
        "default",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", "many"),
        ("threads", "0"),
        ("airflow_port", "70000"),
        ("postgres_port", "-1"),
        ("duckdb_memory", "lots"),
        ("lease_seconds", "1"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"NOCTURNE_{name.upper()}", value)
    with pytest.raises(SettingsError, match=rf"The settings are wrong: {name}: ") as caught:
        load_settings()
    assert "NOCTURNE_*" in caught.value.next_step


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(threads=0, parallelism="x", colour="red")
    assert all(f"{name}: " in str(caught.value) for name in ("threads", "parallelism", "colour"))


def test_two_services_do_not_share_a_port() -> None:
    with pytest.raises(SettingsError, match="demo_port and mlflow_port are both 9000"):
        load_settings(mlflow_port=9000, demo_port=9000)


@pytest.mark.parametrize("secret", ["master_key", "postgres_password"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(secret: str, tmp_path: Path) -> None:
    (tmp_path / "nocturne.toml").write_text(f'{secret} = "hush"\n')
    with pytest.raises(SettingsError, match=f"NOCTURNE_{secret.upper()}") as caught:
        load_settings()
    assert "hush" not in str(caught.value)


def test_a_secret_that_is_wrong_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(master_key="hush")
    assert "hush" not in repr(settings)
    with pytest.raises(SettingsError, match="64 hexadecimal digits") as caught:
        settings.derive("anything")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("content", [b"threads = ", b"threads = '\xff'"])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "nocturne.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=str(tmp_path / "nocturne.toml")):
        load_settings()


def test_a_file_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOCTURNE_SETTINGS", str(tmp_path / "absent.toml"))
    with pytest.raises(SettingsError, match=r"absent\.toml is not there"):
        load_settings()


def test_a_relative_folder_is_the_same_wherever_a_process_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(var="state", lake="~/lake")
    assert settings.var == PROJECT / "state"
    assert settings.lake_root == Path.home() / "lake"


def test_all_state_stands_below_var_unless_said_otherwise(tmp_path: Path) -> None:
    settings = load_settings(var=tmp_path)
    assert (settings.lake_root, settings.sources_root, settings.reports_root) == (
        tmp_path / "lake",
        tmp_path / "sources",
        tmp_path / "reports",
    )
    moved = settings.model_copy(update={"var": tmp_path / "other"})
    assert moved.lake_root == tmp_path / "other/lake"


def test_keys_derive_from_the_master_key_and_their_purpose_alone() -> None:
    settings = load_settings(master_key=KEY)
    assert settings.derive("listener", "dusk") == load_settings(master_key=KEY, threads=7).derive("listener", "dusk")
    purposes = [("listener", "dusk"), ("listener", "dawn"), ("listenerdusk",), ("listener", "dusk", ""), ("listener",)]
    keys = {settings.derive(*purpose) for purpose in purposes} | {load_settings(master_key="5b" * 32).derive("listener", "dusk")}
    assert len(keys) == len(purposes) + 1
    assert all(len(key) == 32 for key in keys)


def test_each_role_has_a_password_of_its_own() -> None:
    settings = load_settings(master_key=KEY, postgres_password="given")
    assert settings.password("nocturne") == "given"
    assert len({settings.password(role) for role in ("nocturne", "dusk_owner", "dusk_reader")}) == 3
    assert load_settings(master_key=KEY).password("nocturne") != "given"


def test_the_master_key_is_made_once_however_many_ask_at_the_same_time(tmp_path: Path) -> None:
    code = "from nocturne.settings import load_settings; print(load_settings().derive('x').hex())"
    asking = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT / "plugins") for _ in range(4)]
    assert len({process.communicate()[0] for process in asking}) == 1
    folder = tmp_path / "var/secrets"
    assert [path.name for path in folder.iterdir()] == ["master.key"]
    assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
