"""Sources of kind `files` in object storage: `s3://bucket/..`, `gs://bucket/..`, `abfs://container/..`, through pyarrow.

Patterns and days are those of local files. An object appears whole, so none is half written; one has changed when its size or its instant
has, and one that was written in the last moments before we looked is looked at again by the next run, because stores tell instants
by the second. An object that is replaced while it is read is left for the next run. Transient errors are tried again by the stores' own
clients, within the source's patience.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from nocturne.errors import DeliveryError, NocturneError, SourceUnavailable
from nocturne.landing.batches import Shelf, Staged, Taken, write
from nocturne.landing.connections import Connection, Patience
from nocturne.landing.files import UNFINISHED, Seen, fixed_part, name_in_batch, path_reader

_CHUNK: Final = 4 << 20
_SETTLED_SECONDS: Final = 3
_REFUSED: Final = re.compile(
    r"ACCESS_DENIED|NO_SUCH_(BUCKET|KEY)|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|"
    r"UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION|HTTP (status|response code):? 40[0134]|HTTP status (code )?40[0134]|PermissionDenied|"
    r"Unauthenticated|NotFound|AuthenticationFailed|AuthorizationFailure|ContainerNotFound",
    re.IGNORECASE,
)


class Objects:
    """The objects that one source offers."""

    def __init__(self, shelf: Shelf, connection: Connection | None, patience: Patience) -> None:
        self._shelf = shelf
        self._scheme, _, self._location = shelf.source.location.partition("://")
        if self._scheme in {"abfs", "abfss"}:
            container, _, path = self._location.partition("/")
            self._location = f"{container.partition('@')[0]}/{path}"
        with self._diagnosed("be opened"):
            self._store = _store(shelf, self._scheme, connection, patience)
        self._found: dict[str, fs.FileInfo] = {}

    def names(self) -> Iterator[str]:
        """The paths (bucket and key) that the location's pattern matches, sorted; hidden ones and folders are left out."""
        bucket = self._location.split("/")[0]
        folder = fixed_part(self._location) or bucket
        is_deep = "/" in self._location.removeprefix(f"{folder}/") or "**" in self._location
        matches = path_reader(self._location)
        with self._diagnosed("be listed"):
            if self._store.get_file_info(bucket).type == fs.FileType.NotFound:
                raise self._wrong(
                    f"{self._scheme}://{bucket} does not exist, or may not be seen", "Correct its location or its connection."
                )
            listed = self._store.get_file_info(fs.FileSelector(folder, recursive=is_deep, allow_not_found=True))
        self._found = {info.path: info for info in listed if info.type == fs.FileType.File}
        for path in sorted(self._found):
            if not any(part.startswith(".") for part in path.split("/")) and matches(path):
                yield path

    def see(self, name: str) -> Seen | None:
        """An object as it was listed; None if its name says that it is not finished."""
        if name.lower().endswith(UNFINISHED):
            return None
        info = self._found[name]
        modified = info.mtime_ns or 0
        is_settled = time.time_ns() - modified > _SETTLED_SECONDS * 1_000_000_000
        return Seen(
            name,
            name_in_batch(self._location, name),
            f"{self._scheme}://{name}",
            info.size or 0,
            modified if is_settled else -time.time_ns(),
        )

    def stage(self, seen: Seen, folder: Path, taken: Taken) -> Staged | None:
        """Copy an object beside its batch; None, with a warning, if it was replaced while it was read or went away."""
        path = folder / hashlib.sha256(seen.origin.encode()).hexdigest()[:32]
        try:
            with self._diagnosed("be read", seen.origin):
                with self._store.open_input_stream(seen.path) as stream:
                    before = stream.metadata()
                    size, sha256 = write(path, self._pieces(stream, seen))
                with self._store.open_input_stream(seen.path) as stream:
                    after = stream.metadata()
        except FileNotFoundError:
            size, sha256, before, after = -1, "", None, None
        if size == seen.size and before == after:
            return Staged(path, seen.name, seen.origin, size, sha256)
        path.unlink(missing_ok=True)
        taken.warnings.append(f"{self._shelf.source.name}: {seen.origin} changed while it was read; the next run takes it")
        return None

    def _pieces(self, stream: pa.NativeFile, seen: Seen) -> Iterator[bytes]:
        while True:
            with self._diagnosed(
                "be read", seen.origin
            ):  # here, so that an error of the disk that we write to is not taken for one of the store
                piece = stream.read(_CHUNK)
            if not piece:
                return
            yield piece

    @contextmanager
    def _diagnosed(self, what: str, origin: str = "") -> Iterator[None]:
        try:
            yield
        except NocturneError:
            raise
        except (OSError, pa.ArrowException, ValueError) as error:
            if isinstance(error, FileNotFoundError) and origin:
                raise
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk that we write to: those of a store have no number
            said = (str(error).splitlines() or [""])[0]
            told = f"{origin or self._shelf.source.location} cannot {what}: {said}"
            if _REFUSED.search(said) or not isinstance(error, OSError):
                raise self._wrong(told, "Correct its location, its connection or its rights.") from error
            raise SourceUnavailable(
                f"Source {self._shelf.source.name}: {told}.",
                next_step="Nothing, if that store is up again soon: the task is tried again by itself.",
                tenant=self._shelf.tenant.slug,
            ) from error

    def _wrong(self, what: str, next_step: str) -> DeliveryError:
        return DeliveryError(f"Source {self._shelf.source.name}: {what}.", next_step=next_step, tenant=self._shelf.tenant.slug)


def _store(shelf: Shelf, scheme: str, connection: Connection | None, patience: Patience) -> fs.FileSystem:
    """The store that a source's location and connection name; without a connection, what the environment says opens it."""
    extra: dict[str, Any] = dict(connection.extra) if connection else {}
    endpoint = urlsplit(connection.endpoint) if connection and connection.endpoint else None
    if scheme == "s3":
        return fs.S3FileSystem(
            access_key=connection.login if connection else None,
            secret_key=connection.password if connection else None,
            session_token=extra.get("aws_session_token"),
            role_arn=extra.get("role_arn"),
            region=extra.get("region_name"),
            scheme=endpoint.scheme if endpoint else None,
            endpoint_override=endpoint.netloc + endpoint.path.rstrip("/") if endpoint else None,
            connect_timeout=min(10.0, patience.timeout_seconds),
            request_timeout=patience.timeout_seconds,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=patience.tries),
        )
    if scheme == "gs":
        return fs.GcsFileSystem(
            anonymous=bool(extra.get("is_anonymous", False)),
            target_service_account=extra.get("impersonation_chain"),
            scheme=endpoint.scheme if endpoint else None,
            endpoint_override=endpoint.netloc if endpoint else None,
            retry_time_limit=timedelta(seconds=max(1.0, patience.all_pauses_seconds)),
        )
    account = urlsplit(shelf.source.location).hostname or ""
    return fs.AzureFileSystem(
        account.partition(".")[0] if "@" in shelf.source.location.split("/")[2] else (connection.login if connection else None) or "",
        account_key=connection.password if connection and not extra.get("tenant_id") else None,
        sas_token=extra.get("sas_token"),
        tenant_id=extra.get("tenant_id"),
        client_id=connection.login if connection and extra.get("tenant_id") else None,
        client_secret=connection.password if connection and extra.get("tenant_id") else None,
        blob_storage_authority=endpoint.netloc if endpoint else None,
        blob_storage_scheme=endpoint.scheme if endpoint else None,
    )
