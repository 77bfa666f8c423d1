"""What one backup holds. A manifest is named after its own hash, so that a damaged one is known by its name."""

import json
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from crossattn_core.backup.destination import Destination
from crossattn_core.errors import BackupError
from crossattn_core.storage import sha256_of

__all__ = ["LATEST", "Content", "Manifest", "manifest_key", "object_key", "read_latest", "read_manifest"]

LATEST = "latest.json"
_LAYOUT = 1


class Content(NamedTuple):
    """What a file holds."""

    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Manifest:
    """One backup."""

    taken_at: str
    """UTC, as 20250301T120000Z."""
    home: dict[str, Any]
    """``home.json``: feed and universe."""
    files: dict[str, Content]
    """Path within the home -> what it holds."""
    layout: int = _LAYOUT

    @property
    def name(self) -> str:
        """When it was taken, and twelve hex digits of its hash."""
        return f"{self.taken_at}-{sha256_of(self.to_json())[:12]}"

    def to_json(self) -> bytes:
        """The manifest's bytes; the same backup gives the same."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()


def object_key(sha256: str) -> str:
    """Where the content with this hash lies."""
    return f"objects/{sha256[:2]}/{sha256}"


def manifest_key(name: str) -> str:
    """Where the manifest of a backup lies."""
    return f"manifests/{name}.json"


def read_latest(destination: Destination) -> tuple[Manifest, Any] | None:
    """The backup in force, and what names the pointer's version; none before the first.

    Raises:
        BackupError: the pointer or its manifest is damaged.
    """
    found = destination.read_version(LATEST)
    if found is None:
        return None
    try:
        name = json.loads(found[0])["backup"]
    except (ValueError, KeyError, TypeError):
        raise BackupError(
            f"{destination.name}: {LATEST} is damaged; restore a backup by its name, see 'crossattn backup --list'"
        ) from None
    return read_manifest(destination, name), found[1]


def read_manifest(destination: Destination, name: str) -> Manifest:
    """The manifest of the backup ``name``.

    Raises:
        BackupError: there is none, it is damaged, or a newer version of crossattn wrote it.
    """
    content = destination.read(manifest_key(name))
    if content is None:
        raise BackupError(
            f"{destination.name}: there is no backup {name!r}; 'crossattn backup --list' names those that are there"
        )
    damaged = BackupError(f"{destination.name}: {manifest_key(name)} is damaged; restore an older backup by its name")
    try:
        values = json.loads(content)
        if values["layout"] > _LAYOUT:
            raise BackupError(f"{destination.name}: backup {name} was written by a newer crossattn; restore it with that")
        manifest = Manifest(**values | {"files": {path: Content(*file) for path, file in values["files"].items()}})
    except (ValueError, KeyError, TypeError):
        raise damaged from None
    if manifest.name != name or not all(_is_inside(path) for path in manifest.files):
        raise damaged
    return manifest


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and "\\" not in path
