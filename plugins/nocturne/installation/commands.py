"""The commands of a whole installation: set it up, run a night, leave it running, end it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime

from nocturne.errors import DiskFull, PermanentError, TenantError
from nocturne.installation.airflow_api import AirflowApi, admin_password
from nocturne.installation.database import EmbeddedDatabase
from nocturne.installation.display import Display, closing
from nocturne.installation.nightly import TenantNight, outcome, run_nights, write_outcomes
from nocturne.installation.services import USER, Processes, airflow_environment, services
from nocturne.installation.tools import ensure_tools
from nocturne.ledger import Ledger, migrate
from nocturne.postgres import provision
from nocturne.settings import Settings
from nocturne.tenants import Roll, Tenant, load_tenants

NIGHT_SERVICES = ("demo", "api-server", "scheduler", "dag-processor", "triggerer")
ALL_SERVICES = (*NIGHT_SERVICES, "mlflow")
_LEAST_FREE_BYTES = 2_000_000_000


def nightly(settings: Settings, display: Display, only: Sequence[str] = (), day: date | None = None) -> int:
    """Set up what is missing, run every tenant's night, show the results; 0 if all succeeded.

    Without `day` a demo tenant's night is that of its world's last day, any other's that of its last business day. What was not running
    before is ended again. Writes `var/nightly.json`.
    """
    with _alone(settings):
        roll = _roll(settings, display, only)
        database = EmbeddedDatabase(settings)
        database_ran = settings.postgres_host is not None or database.is_running()
        processes = Processes(settings)
        started: list[str] = []
        try:
            set_up(settings, display, roll)
            started = start_services(settings, display, processes, NIGHT_SERVICES)
            succeeded = _run(settings, display, processes, roll, day)
        finally:
            processes.stop(started)
            if not database_ran:
                database.stop()
    return 0 if succeeded and not roll.broken else 1


def up(settings: Settings, display: Display) -> int:
    """Leave the whole installation running, and say where it is and how to log in."""
    with _alone(settings):
        roll = _roll(settings, display, ())
        set_up(settings, display, roll)
        start_services(settings, display, Processes(settings), ALL_SERVICES)
    console = display.console
    console.print(f"\n  Airflow  http://{settings.host}:{settings.airflow_port}   login {USER}, password {admin_password(settings)}")
    console.print(f"  MLflow   http://{settings.host}:{settings.mlflow_port}   for operators: it knows no logins")
    console.print("\n  `make down` ends what was started.")
    return 0


def down(settings: Settings, display: Display, *, remove: bool = False) -> int:
    """End the services and the PostgreSQL that this installation started, and nothing else.

    `remove` takes the PostgreSQL's data away, too: those of root's stand outside of `var/` where its own user cannot reach that.
    """
    ended = Processes(settings).stop(reversed(ALL_SERVICES))
    database = EmbeddedDatabase(settings)
    if settings.postgres_host is None and database.is_running():
        database.stop()
        ended.append("postgres")
    display.say(f"ended {', '.join(ended)}" if ended else "nothing was running")
    if remove:
        database.remove()
        display.say(f"removed {database.data_folder}")
    return 0


def set_up(settings: Settings, display: Display, roll: Roll) -> None:
    """Everything that a night needs before Airflow starts. What is there is left as it is."""
    _check_disk(settings)
    ensure_tools(display.say)
    _write_passwords(settings)
    if settings.postgres_host is None:
        database = EmbeddedDatabase(settings)
        fresh = not database.data_folder.exists()
        if database.data_folder != (settings.postgres_data or settings.var / "postgres"):
            display.say(f"PostgreSQL's own user cannot reach {settings.var}: its data stand in {database.data_folder}")
        database.start()
        display.say(f"PostgreSQL {'made and ' if fresh else ''}running on {settings.host}:{settings.postgres_port}")
    migrate(settings)
    for tenant in roll.tenants.values():
        provision(tenant, settings)
    _prepare_stores(settings, display)
    _write_sources(settings, display, roll)


def last_days(roll: Roll) -> dict[str, date]:
    """The day of each tenant's night: the last of its demo world, or for any other tenant the last day that is over."""
    from nocturne.simulator import demo_worlds

    worlds = demo_worlds()
    now = datetime.now(UTC)
    return {slug: worlds[slug].last_day if slug in worlds else tenant.business_day(now) for slug, tenant in roll.tenants.items()}


def _run(settings: Settings, display: Display, processes: Processes, roll: Roll, day: date | None) -> bool:
    api = AirflowApi(settings, USER)
    wait_for_dags(api, roll, processes)
    days = dict.fromkeys(roll.tenants, day) if day else last_days(roll)
    nights = [TenantNight(tenant, days[slug], api, display.change) for slug, tenant in roll.tenants.items()]
    for night in nights:
        night.plan()
    known = services(settings)

    def keep_running() -> None:
        # PostgreSQL going away takes Airflow's processes with it: both come back by themselves.
        if settings.postgres_host is None and not EmbeddedDatabase(settings).is_running():
            display.say("PostgreSQL is gone: starting it again", style="yellow")
            EmbeddedDatabase(settings).start()
        for name in NIGHT_SERVICES:
            if processes.start(known[name]):
                display.say(f"{name} had ended: started again", style="yellow")

    with display.following(nights):
        run_nights(nights, tick=_every(5, keep_running))
    ledger = Ledger(settings)
    outcomes = [outcome(night, settings, ledger) for night in nights]
    seconds = time.monotonic() - display.started
    facts = settings.var / "nightly.json"
    write_outcomes(facts, outcomes, seconds=seconds)
    closing(display.console, outcomes, facts, seconds)
    return all(one.state == "success" for one in outcomes)


def _every(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """Calls `act` at most once in `seconds`."""
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            act()
            last = time.monotonic()

    return tick


def start_services(settings: Settings, display: Display, processes: Processes, names: Sequence[str]) -> list[str]:
    """Start these services and wait until they answer; the names of those that did not run before."""
    known = services(settings)
    with display.phase("starting Airflow"):
        started: list[str] = []
        try:
            for name in names:
                started += [name] if processes.start(known[name]) else []
            for name in names:
                processes.wait(known[name])
        except BaseException:
            processes.stop(started)
            raise
    return started


def wait_for_dags(api: AirflowApi, roll: Roll, processes: Processes, seconds: float = 120) -> None:
    """Wait until Airflow knows the tenants' DAGs. Raises PermanentError with its import errors if it does not in time."""
    wanted = [dag for tenant in roll.tenants.values() for dag in tenant.dags]
    deadline = time.monotonic() + seconds
    while wanted := [dag for dag in wanted if not api.dag_is_known(dag)]:
        if time.monotonic() > deadline:
            errors = "\n".join(f"{name}: {trace.strip().splitlines()[-1]}" for name, trace in api.import_errors().items())
            raise PermanentError(
                f"Airflow does not know {', '.join(wanted)} after {seconds:.0f} s. {errors}",
                next_step=f"Read {processes.log_of('dag-processor')} and run the command again.",
            )
        time.sleep(0.5)


def _roll(settings: Settings, display: Display, only: Sequence[str]) -> Roll:
    roll = load_tenants(settings.tenants)
    for error in roll.broken:
        display.say(str(error), style="red")
    if only:
        roll = Roll({slug: roll.get(slug) for slug in only}, ())
    if not roll.tenants:
        raise TenantError(f"There is no tenant in {settings.tenants} whose file is right.", next_step="Run `nocturne tenants new <slug>`.")
    return roll


def _prepare_stores(settings: Settings, display: Display) -> None:
    """Airflow's metadata and MLflow's store: migrated when the lock file changed since they were last."""
    mark = settings.var / "run" / "prepared"
    lock = settings.project / "requirements.lock"
    wanted = hashlib.sha256(
        (lock.read_bytes() if lock.exists() else b"") + str(EmbeddedDatabase(settings).data_folder).encode()
    ).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return
    with display.phase("preparing the stores of Airflow and MLflow"):
        log = settings.var / "log" / "prepare.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            running = [
                subprocess.Popen(
                    [sys.executable, "-m", module],
                    env=airflow_environment(settings),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=settings.project,
                )
                for module in ("nocturne.orchestration.prepare", "ml.registry")
            ]
            failed = [process.args for process in running if process.wait() != 0]
        if failed:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
            raise PermanentError(
                f"The stores could not be prepared:\n{tail}", next_step=f"Read {log}, mend the cause, run the command again."
            )
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(wanted)


def _write_sources(settings: Settings, display: Display, roll: Roll) -> None:
    from nocturne.simulator import demo_worlds, write_demo_sources

    worlds = demo_worlds()
    demo: list[Tenant] = [tenant for slug, tenant in roll.tenants.items() if slug in worlds]
    with display.phase(f"writing the sources of {len(demo)} demo tenants"):
        for tenant in demo:
            write_demo_sources(tenant, settings)


def _write_passwords(settings: Settings) -> None:
    path = settings.var / "secrets" / "airflow_passwords.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = json.dumps({USER: admin_password(settings)}) + "\n"
    if not path.exists() or path.read_text() != wanted:
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(wanted)


def _check_disk(settings: Settings) -> None:
    settings.var.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.var).free
    if free < _LEAST_FREE_BYTES:
        raise DiskFull(
            f"Only {free / 1e9:.1f} GB are free where {settings.var} stands; a night needs {_LEAST_FREE_BYTES / 1e9:.0f}.",
            next_step="Make room, or set NOCTURNE_VAR to a folder on another disk.",
        )


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Only one command at a time changes an installation."""
    import fcntl

    path = settings.var / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise PermanentError(
                f"Another command (process {lock.read().strip() or 'unknown'}) is at work on {settings.var}.",
                next_step="Wait for it, or end it.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
