"""Home -> backup: what is new is sent, then the manifest, then the pointer to it.

Killed at any moment, the backup before stays in force, and the next one finds what was sent. Of two that end at once one is in
force, and the other is told.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crossattn_core.backup.destination import Destination
from crossattn_core.backup.manifest import LATEST, Content, Manifest, manifest_key, object_key, read_latest
from crossattn_core.backup.snapshot import files_of, frozen
from crossattn_core.errors import BackupError
from crossattn_core.home import Home
from crossattn_core.progress import Progress, Report, silent
from crossattn_core.storage import read_json, sha256_of, write_bytes

__all__ = ["THREADS", "BackedUp", "back_up"]

THREADS = 16
"""Requests under way at once."""
_SETTINGS = "settings"
"""Folder of a restored home with the experiment file that the backup was made with."""


@dataclass(frozen=True)
class BackedUp:
    """What a backup came to."""

    name: str
    files: int
    sent_files: int
    sent_bytes: int
    is_new: bool
    """Whether anything differs from the backup that was in force."""


def back_up(
    home: Home,
    lake: Path,
    destination: Destination,
    at: datetime,
    *,
    settings: Mapping[str, bytes] | None = None,
    report: Report = silent,
) -> BackedUp:
    """Bring the destination up to the home as it is now; the pipeline may go on meanwhile.

    Args:
        lake: where the candles lie.
        at: now, aware UTC.
        settings: name -> content of files outside the home that belong to it: the experiment's.

    Raises:
        BackupError: another home's backups are there, an object is damaged, another backup ended meanwhile, or the store refused.
    """
    stamp = home.root / "home.json"
    if not stamp.is_file():
        raise BackupError(f"{home.root}: there is no home to back up; choose one with --home or CROSSATTN_HOME")
    identity = read_json(stamp, "restore the home from an earlier backup; this one was not sent")
    before = read_latest(destination)
    if before is not None and before[0].home != identity:
        raise BackupError(f"{destination.name} holds the backups of another feed or universe; choose another prefix here")
    present = destination.sizes("objects")
    with frozen(home, lake) as folder, ThreadPoolExecutor(THREADS) as pool:
        for name, content in (settings or {}).items():
            write_bytes(folder / _SETTINGS / name, content)
        paths = files_of(folder)
        contents: dict[str, Content] = {}
        sent_files = sent_bytes = 0
        sending = pool.map(lambda path: _send(destination, path, present), paths.values())
        for done, (path, (content, is_sent)) in enumerate(zip(paths, sending, strict=True), start=1):
            contents[path] = content
            sent_files, sent_bytes = sent_files + is_sent, sent_bytes + is_sent * content.size
            report(Progress("backup", done, len(paths), "files"))
    if before is not None and before[0].files == contents:
        return BackedUp(before[0].name, len(contents), sent_files, sent_bytes, is_new=False)
    manifest = Manifest(f"{at:%Y%m%dT%H%M%SZ}", identity, contents)
    destination.create(manifest_key(manifest.name), manifest.to_json())
    pointer = json.dumps({"backup": manifest.name}).encode()
    if not destination.swap(LATEST, pointer, None if before is None else before[1]):
        raise BackupError(
            f"{destination.name}: another backup ended while this one ran, and that one is in force; nothing is lost: run it "
            "again, and only what differs is sent"
        )
    return BackedUp(manifest.name, len(contents), sent_files, sent_bytes, is_new=True)


def _send(destination: Destination, path: Path, present: Mapping[str, int]) -> tuple[Content, bool]:
    content = path.read_bytes()
    named = Content(sha256_of(content), len(content))
    key = object_key(named.sha256)
    if key not in present:
        return named, destination.create(key, content)
    if present[key] != named.size:
        raise BackupError(
            f"{destination.name}/{key} is damaged: it has {present[key]} bytes where {named.size} are due ({path.name}); delete "
            "it there and back up again"
        )
    return named, False
