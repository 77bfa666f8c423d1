"""The home folder: one experiment's feed and everything made from it.

home.json         which feed and universe live here; another one is refused
lake/             raw candles, append-only Parquet
warehouse.duckdb  what SQL makes of them
panel/            daily Parquet (truth) and the memory-mapped arrays (cache)
models/           checkpoints
walk_forward/     plan, models in force and forecasts by day
attention/        snapshots
weights/          target weights of every strategy
target_weights/   the followed ones, as Parquet, CSV and JSON
reports/          one folder a report
receipts.sqlite   what each partition was made from (see receipts.py)
dagster/          Dagster's own storage
"""

import errno
import tempfile
from pathlib import Path
from typing import Any

from crossattn_core.errors import HomeError
from crossattn_core.experiment import Experiment
from crossattn_core.storage import locked, read_json, write_json

__all__ = ["UNFINISHED", "Home", "check_writable", "open_home"]

UNFINISHED = "restore.json"
"""In a home while a backup is being restored into it: which one."""


class Home:
    """Paths inside one home folder. Building it touches nothing; ``open_home`` checks and creates."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.lake = self.root / "lake"
        self.warehouse = self.root / "warehouse.duckdb"
        self.panel = self.root / "panel"
        self.models = self.root / "models"
        self.walk_forward = self.root / "walk_forward"
        self.attention = self.root / "attention"
        self.weights = self.root / "weights"
        self.target_weights = self.root / "target_weights"
        self.reports = self.root / "reports"
        self.receipts = self.root / "receipts.sqlite"
        self.dagster = self.root / "dagster"


def open_home(root: Path, experiment: Experiment) -> Home:
    """Open (or found) the home at ``root`` for ``experiment``.

    Raises:
        HomeError: the home holds another feed, universe or grid; the message lists each difference. Or it is no folder, or
            cannot be made or read.
    """
    try:
        return _open(Home(root), experiment)
    except OSError as error:
        raise HomeError(_refused(root, error)) from error


def check_writable(home: Home) -> None:
    """Refuse a home that cannot be written to, before any work is done in it.

    Raises:
        HomeError: rights, or the disk, do not let a file be written.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=home.root, prefix=".writable.") as probe:
            probe.write(bytes(4096))
            probe.flush()
    except OSError as error:
        raise HomeError(_refused(home.root, error)) from error


def _refused(root: Path, error: OSError) -> str:
    part = next((folder for folder in (root, *root.parents) if folder.exists() and not folder.is_dir()), None)
    if part is not None:
        return f"home {root}: {part} is a file, not a folder; choose another folder with --home or CROSSATTN_HOME"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"home {root} cannot be written to ({error.strerror}); free some space and run the same command again"
    return (
        f"home {root} cannot be written to ({error.strerror}); give this user the right to read and write there, or choose "
        "another folder with --home or CROSSATTN_HOME"
    )


def _open(home: Home, experiment: Experiment) -> Home:
    identity = _identity(experiment)
    if (home.root / UNFINISHED).exists():
        raise HomeError(f"home {home.root}: a restore into it was not finished; run the same 'crossattn restore' again")
    stamp = home.root / "home.json"
    if not stamp.exists():
        with locked(home.root / "home.lock"):  # two that found a home at once must not both think it theirs
            if not stamp.exists():
                write_json(stamp, identity)
    # Homes of before bars could differ hold hours.
    stored = {"bar": "1h"} | read_json(stamp, "restore it or choose another folder with --home or CROSSATTN_HOME")
    differing = [key for key in sorted(stored.keys() | identity.keys()) if stored.get(key) != identity.get(key)]
    if differing:
        differences = [_difference(key, stored.get(key), identity.get(key)) for key in differing]
        if differing == ["universe"] and set(stored["universe"]) < set(identity["universe"]):
            differences.append("Was it made with --symbols? An experiment file that names those assets alone reads it.")
        raise HomeError(
            f"home {home.root} belongs to another experiment's feed:\n  "
            + "\n  ".join(differences)
            + f"\nNothing was changed. Choose another folder for {experiment.name!r} with --home or CROSSATTN_HOME."
        )
    return home


def _difference(key: str, here: Any, expected: Any) -> str:
    """One line; of long universes only what one has and the other has not.

    >>> _difference("universe", ["a", "b"], ["b", "c"])
    "universe: here alone ['a'], experiment alone ['c']"
    """
    if key == "universe" and isinstance(here, list) and set(here) != set(expected):
        alone = [[name for name in names if name not in others] for names, others in ((here, expected), (expected, here))]
        return f"universe: here alone {alone[0]!r}, experiment alone {alone[1]!r}"
    return f"{key}: here {here!r}, experiment {expected!r}"


def _identity(experiment: Experiment) -> dict[str, Any]:
    feed = experiment.feed
    identity: dict[str, Any] = {
        "feed": feed.kind,
        "universe": list(experiment.asset_ids),
        "bar": experiment.grid.bar,
        "start": experiment.period.start.isoformat(),
        "publication_lag_seconds": dict(feed.publication_lag_seconds),
    }
    if feed.kind == "simulated":
        identity["simulated"] = feed.simulated.content_hash()
    return identity
