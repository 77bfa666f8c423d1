"""Backup -> home: every file is compared with its hash before it counts; what was interrupted goes on where it stood."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from crossattn_core.backup.back_up import THREADS
from crossattn_core.backup.destination import Destination
from crossattn_core.backup.manifest import Content, Manifest, object_key, read_latest, read_manifest
from crossattn_core.errors import BackupError
from crossattn_core.home import UNFINISHED
from crossattn_core.progress import Progress, Report, silent
from crossattn_core.storage import sha256_of, write_bytes, write_text

__all__ = ["backups", "restore", "verify"]

_SHOWN = 20


def backups(destination: Destination) -> list[str]:
    """The names of all backups, oldest first; each is there for good."""
    return sorted(Path(key).stem for key in destination.sizes("manifests"))


def restore(destination: Destination, root: Path, name: str = "", *, report: Report = silent) -> Manifest:
    """Bring the backup ``name`` (the one in force when empty) back as the home ``root``, which must be empty or half restored.

    Raises:
        BackupError: the folder holds something else, or objects are missing or damaged; each is named, and all others are there.
    """
    manifest = _chosen(destination, name)
    unfinished = root / UNFINISHED
    if unfinished.is_file():
        if (begun := unfinished.read_text(encoding="utf-8").strip()) != manifest.name:
            raise BackupError(f"{root}: the restore of {begun} was not finished; name that backup, or choose an empty folder")
    elif root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BackupError(f"{root} is not empty; a backup is restored into an empty folder, and nothing was changed")
    else:
        write_text(unfinished, manifest.name + "\n")
    faults = list(_each(destination, manifest, root, report))
    if faults:
        raise BackupError(f"{_named(destination, faults)}; the other files of {manifest.name} are in {root}; run it again then")
    unfinished.unlink()
    return manifest


def verify(destination: Destination, name: str = "", *, report: Report = silent) -> Manifest:
    """Read every object of a backup and compare it with its hash.

    Raises:
        BackupError: objects are missing or damaged; each is named.
    """
    manifest = _chosen(destination, name)
    faults = list(_each(destination, manifest, None, report))
    if faults:
        raise BackupError(f"{_named(destination, faults)}; delete what is damaged there, and back up again from a whole home")
    return manifest


def _chosen(destination: Destination, name: str) -> Manifest:
    if name:
        return read_manifest(destination, name)
    latest = read_latest(destination)
    if latest is None:
        raise BackupError(f"{destination.name}: there is no backup")
    return latest[0]


def _each(destination: Destination, manifest: Manifest, root: Path | None, report: Report) -> Iterator[str]:
    """What is wrong with the manifest's objects; whole ones are written to ``root`` where it is given."""
    with ThreadPoolExecutor(THREADS) as pool:
        fetched = pool.map(partial(_fetch, destination, root), manifest.files.items())
        for done, fault in enumerate(fetched, start=1):
            report(Progress("verify" if root is None else "restore", done, len(manifest.files), "files"))
            if fault:
                yield fault


def _fetch(destination: Destination, root: Path | None, file: tuple[str, Content]) -> str:
    path, named = file
    if root is not None and (root / path).is_file() and sha256_of((root / path).read_bytes()) == named.sha256:
        return ""
    key = object_key(named.sha256)
    content = destination.read(key)
    if content is None:
        return f"{key} is missing ({path})"
    if (len(content), sha256_of(content)) != (named.size, named.sha256):
        return f"{key} is damaged ({path})"
    if root is not None:
        write_bytes(root / path, content)
    return ""


def _named(destination: Destination, faults: list[str]) -> str:
    more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return f"{destination.name}: {'; '.join(faults[:_SHOWN])}{more}"
