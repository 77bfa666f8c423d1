"""What a home need not keep for ever, by ``retention`` of the experiment: weights of old models, next-bar forecasts, pages.

Only what can be made again goes: weights are fitted again from the panel and come out the same, a page is written again as of its
day. Candles, panel, plan, forecasts, snapshots, weights of strategies, manifests and receipts are always kept, so a day that was
stepped stays stepped, its forecasts still name their models, and ``explain`` still finds every step.

Stopped anywhere, a prune is gone on with by the next one. What another process may be writing is left alone: nothing that was
changed within a day is touched.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import weights_path
from crossattn_core.home import Home
from crossattn_core.walk_forward.overrides import read_overrides
from crossattn_core.walk_forward.store import read_day

__all__ = ["GRACE", "Pruned", "models_in_use", "prune_home"]

GRACE = timedelta(days=1)
"""A file that was changed within it may belong to a fit under way."""


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or would be."""

    kind: str
    """'models', 'next-bar forecasts', 'pages', ..."""
    count: int
    size_bytes: int


def prune_home(home: Home, experiment: Experiment, last_day: date, *, now: datetime, dry_run: bool = False) -> list[Pruned]:
    """Delete what ``experiment.retention`` does not keep; nothing of a kind whose days are 0.

    Args:
        last_day: the newest complete day; kept days count back from it.
        now: aware UTC, of the clock that dates files.
        dry_run: delete nothing, and say what would go.
    """
    before = (now - GRACE).timestamp()
    settings, kept_window = experiment.retention, experiment.analysis.window_days
    found = {
        "models": _models(home, _first_kept(last_day, settings.model_days)),
        "next-bar forecasts": _of_days(
            home.attention / "next_bar", _first_kept(last_day, settings.snapshot_days and settings.snapshot_days + kept_window)
        ),
        "pages": _pages(home.reports, _first_kept(last_day, settings.report_days)),
    }
    return [_pruned(kind, [path for path in paths if _changed(path) < before], dry_run) for kind, paths in found.items()]


def models_in_use(home: Home, first_kept: date) -> set[str]:
    """Ids of the models whose weights are kept: those that the days from ``first_kept`` on serve, fit or start from, the newest
    days' earlier healthy ones, which a rollback goes back to, what overrides name, and the members of each.
    """
    plans = _plans(home)
    recent = [record for day, record in plans.items() if day >= first_kept - timedelta(days=1)]
    used = {override.model_id for override in read_overrides(home)}
    for record in recent:
        used |= set(record["state"]["in_force"].values()) | {str(row["trained_id"]) for row in record["rows"]}
    if recent:
        used |= {model for models in recent[-1]["state"]["history"].values() for model in models}
    return {member for model in used for member in _with_members(home, model)} - {""}


def _first_kept(last_day: date, days: int) -> date:
    return last_day - timedelta(days=days - 1) if days else date.min


def _models(home: Home, first_kept: date) -> Iterator[Path]:
    """Weights of models that a plan names and no kept day uses; folders of models, older than that, that none names."""
    if first_kept == date.min or not home.models.is_dir():
        return
    used = models_in_use(home, first_kept)
    named = {model for record in _plans(home).values() for model in _named(record)}
    named = {member for model in named for member in _with_members(home, model)}
    for folder in sorted(home.models.iterdir()):
        if folder.name in used or not folder.is_dir():
            continue
        if folder.name not in named:
            if str(_manifest(folder).get("cut_off", ""))[:10] < first_kept.isoformat():
                yield folder
        elif weights_path(folder).is_file():
            yield weights_path(folder)


def _of_days(folder: Path, first_kept: date) -> list[Path]:
    paths = sorted(folder.glob("????-??-??.*")) if folder.is_dir() else []
    return [path for path in paths if path.stem < first_kept.isoformat()]


def _pages(folder: Path, first_kept: date) -> list[Path]:
    pages = sorted(folder.glob("????-??-??")) if folder.is_dir() else []
    return [page for page in pages[:-1] if page.name < first_kept.isoformat()]


def _plans(home: Home) -> Mapping[date, dict[str, Any]]:
    """Day -> its plan as stored, ascending: of every day, whether it is linked to the one before or not."""
    folder = home.walk_forward / "plan"
    paths = sorted(folder.glob("????-??-??.json")) if folder.is_dir() else []
    days = [date.fromisoformat(path.stem) for path in paths]
    return {day: record for day in days if (record := read_day(home, day)) is not None}


def _named(record: Mapping[str, Any]) -> set[str]:
    state = record["state"]
    of_rows = {str(row[name]) for row in record["rows"] for name in ("model_id", "trained_id", "parent_id")}
    return of_rows | set(state["in_force"].values()) | {model for models in state["history"].values() for model in models}


def _with_members(home: Home, model_id: str) -> set[str]:
    return {model_id, *_manifest(home.models / model_id).get("members", ())}


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _pruned(kind: str, paths: list[Path], dry_run: bool) -> Pruned:
    size = 0
    for path in paths:
        size += _size(path)
        if dry_run:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return Pruned(kind, len(paths), size)


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _changed(path: Path) -> float:
    return max((file.stat().st_mtime for file in (*_files(path), path)), default=0.0)
