"""Atomic writes: a reader sees the old file or the new one, never a part of one.

Order: temporary file beside the target, fsync, rename, fsync of the folder. Rights are what the process's umask leaves: files are
handed over to others. What is read, changed and written again is so under ``locked``, or one of two writers loses its change.
Reads: a file that is not what was written is refused by its name, with what to do.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from crossattn_core.errors import HomeError

__all__ = [
    "FROM_BACKUP",
    "check_target",
    "locked",
    "read_json",
    "read_parquet",
    "sha256_of",
    "write_atomic",
    "write_bytes",
    "write_json",
    "write_parquet",
    "write_text",
]


FROM_BACKUP = "restore it from a backup, or move receipts.sqlite of the home aside: the next run makes everything again"
"""What to do about a damaged file that no command makes again by itself."""


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Let ``write`` fill a temporary file, then move it to ``path``; on any error ``path`` stays as it was."""
    _refuse_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return path


def check_target(path: Path) -> None:
    """Refuse, before the work whose result it shall hold, a file that cannot be written.

    Raises:
        OSError: it is a folder, or lies where no file can be made.
    """
    _refuse_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:40]}."):
        pass


def write_bytes(path: Path, content: bytes) -> Path:
    """Write ``content`` atomically."""
    return write_atomic(path, lambda stream: stream.write(content))


def write_text(path: Path, content: str) -> Path:
    """Write ``content`` atomically, as UTF-8."""
    return write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> Path:
    """Write ``value`` atomically as JSON; keys sorted, NaN refused."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_parquet(path: Path, table: pa.Table) -> Path:
    """Write ``table`` atomically as Parquet (zstd)."""
    return write_atomic(path, lambda stream: pq.write_table(table, stream, compression="zstd"))


def read_json(path: Path, what: str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """The mapping in a JSON file that holds at least ``keys``.

    Args:
        what: what to do where the file is damaged, for the message.

    Raises:
        FileNotFoundError: there is none.
        HomeError: it is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise HomeError(f"{path}: damaged ({error}); {what}") from error
    if not isinstance(content, dict):
        raise HomeError(f"{path}: damaged (it holds a {type(content).__name__}); {what}")
    if absent := [key for key in keys if key not in content]:
        raise HomeError(f"{path}: damaged (it lacks {', '.join(absent)}); {what}")
    return content


def read_parquet(path: Path, what: str, *, columns: list[str] | None = None, **options: Any) -> pa.Table:
    """The table in a Parquet file, of ``columns`` alone where they are given.

    Args:
        what: what to do where the file is damaged, for the message.
        options: as for ``pyarrow.parquet.ParquetFile``.

    Raises:
        FileNotFoundError: there is none.
        HomeError: it is damaged.
    """
    try:
        return pq.ParquetFile(path, **options).read(columns=columns)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise HomeError(f"{path}: damaged ({error}); {what}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path``: one process at a time, the others wait; the end of a process, however it ends, frees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def sha256_of(content: bytes | memoryview) -> str:
    """Hex digest of ``content``."""
    return hashlib.sha256(content).hexdigest()


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a folder, not a file", str(path))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
