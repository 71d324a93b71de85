"""The installation's own settings: paths, ports, addresses and keys.

Read, the later over the earlier: the defaults below, `nocturne.toml` in the project's root (or the file that `NOCTURNE_SETTINGS`
names), `NOCTURNE_*` environment variables. All state stands below `var`.
Secrets are read from the environment or from files below `var/secrets` (mode 0600), never from `nocturne.toml`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from nocturne.errors import SettingsError

PROJECT = Path(__file__).resolve().parents[2]


def _absolute(path: Path) -> Path:
    """A relative path means the same in every process, wherever it was started: below the project."""
    return PROJECT / path.expanduser()


Folder = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseSettings):
    """One installation. Every field is also the environment variable `NOCTURNE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="NOCTURNE_", frozen=True, extra="forbid", env_ignore_empty=True)

    project: Folder = Field(PROJECT, description="The folder with dags/, dbt/, expectations/, ml/ and plugins/.")
    var: Folder = Field(PROJECT / "var", description="All state of this installation.")
    tenants: Folder = Field(PROJECT / "dags" / "tenants", description="The folder of the tenants' files.")
    lake: Folder | None = Field(None, description="The lake's root; default: var/lake.")
    sources: Folder | None = Field(None, description="Where sources of kind `files` deliver; default: var/sources.")
    reports: Folder | None = Field(None, description="Where reports are written; default: var/reports.")
    host: str = Field("127.0.0.1", description="The address that the local services listen on.")
    airflow_port: Port = Field(8480, description="Port of Airflow's API server and UI.")
    mlflow_port: Port = Field(8481, description="Port of MLflow's UI.")
    demo_port: Port = Field(8482, description="Port of the demo sources' REST API.")
    log_port: Port = Field(8483, description="Port on which Airflow serves the logs of running tasks.")
    trigger_log_port: Port = Field(8484, description="Port on which Airflow serves the triggerer's logs.")
    postgres_host: str | None = Field(None, description="Host of a PostgreSQL that stands elsewhere; default: the embedded one.")
    postgres_port: Port = Field(8432, description="Port of PostgreSQL, embedded or not.")
    postgres_user: str = Field("nocturne", description="The superuser (or owner with CREATEROLE) that Nocturne connects as.")
    postgres_data: Folder | None = Field(None, description="Data folder of the embedded PostgreSQL; default: var/postgres.")
    postgres_password: SecretStr | None = Field(None, description="Default: derived from the master key.")
    master_key: SecretStr | None = Field(None, description="64 hex digits from which all keys derive; default: var/secrets/master.key.")
    mlflow_tracking_uri: str | None = Field(None, description="Default: the `mlflow` database of this PostgreSQL.")
    duckdb_memory: str = Field("1GB", pattern=r"^[0-9]+(\.[0-9]+)? ?([KMGT]i?)?B$", description="Memory cap of each DuckDB connection.")
    threads: int = Field(2, ge=1, description="Threads of each DuckDB connection.")
    parallelism: int = Field(2, ge=1, description="Tasks that the LocalExecutor runs at once.")
    keep_hours: int = Field(168, ge=0, description="How long the files of replaced rows are kept in the lake, to be read or restored.")
    keep_days: int = Field(30, ge=0, description="How long landing keeps a delivery that another took the place of.")
    pack_days: int = Field(3, ge=0, description="Raw files of landing are packed when they were received more than so many days ago.")
    query_seconds: int = Field(30, ge=1, le=3_600, description="After so long a question to the marts is given up.")
    query_cost: int = Field(30_000, ge=1_000, description="What an answer at once may cost by PostgreSQL's estimate: 150 are about 1 ms.")
    lease_seconds: int = Field(120, ge=5, description="A lease whose heartbeat is older may be taken over.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the settings file over the defaults."""
        return init_settings, EnvSettingsSource(settings_cls), InitSettingsSource(settings_cls, _from_file())

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        names = ("airflow_port", "mlflow_port", "demo_port", "log_port", "trigger_log_port", "postgres_port")
        taken: dict[int, str] = {}
        for name in names:
            port = int(getattr(self, name))
            if port in taken:
                raise ValueError(f"{name} and {taken[port]} are both {port}")
            taken[port] = name
        return self

    @property
    def lake_root(self) -> Path:
        """Root of the lake: below it one folder a tenant."""
        return self.lake or self.var / "lake"

    @property
    def sources_root(self) -> Path:
        """Below it stand the files that sources deliver; a source's location is relative to it."""
        return self.sources or self.var / "sources"

    @property
    def reports_root(self) -> Path:
        """Root of the reports: below it one folder a tenant and day."""
        return self.reports or self.var / "reports"

    @property
    def dbt_project(self) -> Path:
        """The dbt project."""
        return self.project / "dbt"

    @property
    def expectations(self) -> Path:
        """The suites of checks."""
        return self.project / "expectations"

    @property
    def metrics(self) -> Path:
        """The declarations of the metrics."""
        return self.dbt_project / "metrics"

    @property
    def contracts(self) -> Path:
        """What the marts promise, and to whom."""
        return self.dbt_project / "contracts"

    @property
    def postgres_address(self) -> str:
        """Host of PostgreSQL; the embedded one listens on `host`."""
        return self.postgres_host or self.host

    @property
    def _key(self) -> bytes:
        text = self.master_key.get_secret_value() if self.master_key else _secret_file(self.var / "secrets" / "master.key")
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise SettingsError(
                "The master key is not 64 hexadecimal digits.",
                next_step="Set NOCTURNE_MASTER_KEY, or restore var/secrets/master.key from the backup.",
            )
        return key

    def derive(self, *purpose: str) -> bytes:
        """32 bytes that belong to `purpose` alone: HMAC-SHA256(master key, purpose) (the expand step of RFC 5869 with one block)."""
        return hmac.new(self._key, "\x1f".join(purpose).encode() + b"\x01", hashlib.sha256).digest()

    def password(self, role: str) -> str:
        """The PostgreSQL password of `role`; the superuser's own may be given in the settings."""
        if role == self.postgres_user and self.postgres_password:
            return self.postgres_password.get_secret_value()
        return self.derive("postgres", role).hex()


def settings_file() -> Path:
    """The settings file, whether it is there or not."""
    return Path(os.environ.get("NOCTURNE_SETTINGS") or PROJECT / "nocturne.toml")


def origins() -> dict[str, str]:
    """Where each setting's value comes from: an environment variable, the settings file, or its default."""
    in_file = _from_file()
    found = {}
    for name in Settings.model_fields:
        variable = f"NOCTURNE_{name.upper()}"
        found[name] = variable if os.environ.get(variable) else str(settings_file()) if name in in_file else "default"
    return found


def _from_file() -> dict[str, Any]:
    path = settings_file()
    if not path.exists():
        if os.environ.get("NOCTURNE_SETTINGS"):
            raise SettingsError(f"The settings file {path} is not there.", next_step="Correct NOCTURNE_SETTINGS, or unset it.")
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}.", next_step="Correct the file.") from error
    for secret in ("master_key", "postgres_password"):
        if secret in values:
            raise SettingsError(f"{path} holds {secret}.", next_step=f"Remove it there and set NOCTURNE_{secret.upper()}.")
    return values


def _secret_file(path: Path) -> str:
    """The secret in `path`; made once, so that two processes that start together agree on it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32) + "\n")
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


def load_settings(**values: Any) -> Settings:
    """The settings in force. Reads the settings file and the environment; `values` go over both (tests, tools).

    Raises SettingsError with each wrong field and its next step.
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        )
        raise SettingsError(
            f"The settings are wrong: {wrong}.", next_step="Correct nocturne.toml or the NOCTURNE_* variables of these names."
        ) from error
