"""Newest results -> a place that others read: target weights and pages under plain names, and a list of them with their hashes.

<prefix>/target_weights/...     as in the home
<prefix>/reports/<last day>/...
<prefix>/published.json         path -> sha256; written last, so that a reader can tell whether it has one whole set
"""

import json
from datetime import datetime

from crossattn_core.backup.destination import Destination
from crossattn_core.home import Home
from crossattn_core.storage import sha256_of

__all__ = ["PUBLISHED", "publish"]

PUBLISHED = "published.json"


def publish(home: Home, destination: Destination, at: datetime) -> int:
    """Copy the home's target weights and pages there, where they differ from what is there; returns how many files were sent.

    Raises:
        BackupError: the store refused; files that were sent stay, and the list names the set before.
    """
    before = _published(destination)
    now: dict[str, str] = {}
    sent = 0
    for folder in (home.reports, home.target_weights):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if not path.is_file() or path.name.startswith("."):
                continue
            key, content = path.relative_to(home.root).as_posix(), path.read_bytes()
            now[key] = sha256_of(content)
            if before.get(key) != now[key]:
                destination.replace(key, content)
                sent += 1
    if now != before:
        listed = {"published_at": at.isoformat(timespec="seconds"), "files": now}
        destination.replace(PUBLISHED, json.dumps(listed, indent=1, sort_keys=True).encode())
    return sent


def _published(destination: Destination) -> dict[str, str]:
    """Path -> sha256 of what is there; nothing where there is no list or a damaged one, and all is sent again."""
    try:
        return dict(json.loads(destination.read(PUBLISHED) or b"{}")["files"])
    except (ValueError, KeyError, TypeError):
        return {}
