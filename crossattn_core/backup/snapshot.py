"""The home held still for an instant, so that a backup can read it while the pipeline goes on.

Files of a home are replaced whole, never rewritten in place, so that a hard link keeps what a file held. While links are made,
the databases (receipts, ledgers of the lake) take no new row. What is frozen is then what a power cut at that instant would have
left, and every stage is built to go on from that: a file without its row is made again, and no row is without its file.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath

from crossattn_core.errors import BackupError
from crossattn_core.home import Home
from crossattn_core.storage import locked

__all__ = ["files_of", "frozen", "is_kept"]

_STAGING = ".backup"
_MADE_AGAIN = ("dagster", "warehouse.duckdb", "warehouse.duckdb.wal", "alerts")
"""Dagster's own history, which no result depends on; and what the lake gives again."""
_PASSING = (".lock", ".tmp", "-journal", "-wal", "-shm")
_FIRST = "walk_forward/plan"
"""A day's plan is written last, and names models and predictions: linked first, it names nothing that is not there."""


def is_kept(path: PurePosixPath) -> bool:
    """Whether a file of a home belongs in a backup.

    >>> is_kept(PurePosixPath("lake/api/ledger.sqlite")), is_kept(PurePosixPath("panel/cache/1/cache.json"))
    (True, False)
    """
    is_cache = path.parts[:2] == ("panel", "cache") or (path.parts[0] == "lake" and "compact" in path.parts[1:3])
    is_passing = path.name.endswith(_PASSING) or any(part.startswith(".") for part in path.parts)
    return not (is_cache or is_passing or path.parts[0] in _MADE_AGAIN)


@contextmanager
def frozen(home: Home, lake: Path) -> Iterator[Path]:
    """A folder that holds the home's files (``is_kept``) as they are at one instant, for the length of the block.

    Args:
        lake: where the candles lie, in the home or outside; they are at ``lake/`` in the folder.

    Raises:
        BackupError: a database is damaged, or was busy all the time.
    """
    folder = home.root / _STAGING
    with locked(home.root / "backup.lock"):
        shutil.rmtree(folder, ignore_errors=True)  # of a backup that was killed
        try:
            _freeze(home, lake.resolve(), folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def files_of(folder: Path) -> dict[str, Path]:
    """Path within the home -> file, in order."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _freeze(home: Home, lake: Path, folder: Path) -> None:
    databases = {PurePosixPath("receipts.sqlite"): home.receipts}
    databases |= {
        PurePosixPath("lake") / path.relative_to(lake).as_posix(): path for path in sorted(lake.glob("*/ledger.sqlite"))
    }
    with ExitStack() as held:
        for kept, path in databases.items():
            if path.is_file():
                held.enter_context(_copied(path, folder / kept))
        _link(home.root / _FIRST, folder / _FIRST, PurePosixPath(_FIRST), databases)
        elsewhere = not lake.is_relative_to(home.root.resolve())
        if elsewhere:
            _link(lake, folder / "lake", PurePosixPath("lake"), databases)
        _link(home.root, folder, PurePosixPath(), databases, but="lake" if elsewhere else "")


@contextmanager
def _copied(path: Path, target: Path) -> Iterator[None]:
    """A copy of a database, which takes no new row until the block ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute("begin immediate")
            with closing(sqlite3.connect(path)) as reader, closing(sqlite3.connect(target)) as copy:
                reader.backup(copy)
            yield
    except sqlite3.DatabaseError as error:
        raise BackupError(
            f"{path}: cannot be read ({error}); run it again, and 'crossattn doctor' if that does not help"
        ) from error


def _link(source: Path, target: Path, within: PurePosixPath, databases: dict[PurePosixPath, Path], *, but: str = "") -> None:
    """Link what is to be kept of the folder ``source``, which is ``within`` the home; what is linked already stays.

    Args:
        but: one entry of the folder that is left out.
    """
    try:
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        path = within / entry.name
        if not is_kept(path) or path in databases or entry.is_symlink() or entry.name == but:
            continue
        if entry.is_dir():
            _link(source / entry.name, target / entry.name, path, databases)
            continue
        target.mkdir(parents=True, exist_ok=True)
        try:
            os.link(entry.path, target / entry.name)
        except (FileExistsError, FileNotFoundError):
            continue  # linked before; or removed since it was listed
        except OSError:
            shutil.copyfile(entry.path, target / entry.name)  # another file system, or one without links
