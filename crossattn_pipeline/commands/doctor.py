"""``crossattn doctor``: is everything that a run needs in order; each fault with its remedy."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossattn_core.errors import CrossattnError
from crossattn_pipeline.commands.faults import in_words
from crossattn_pipeline.commands.options import AsJson, ExperimentFile, HomeFolder
from crossattn_pipeline.commands.terminal import FAILED, Output

if TYPE_CHECKING:
    from crossattn_core.line import Line

__all__ = ["doctor"]

MIN_FREE_BYTES = 2**30
MAX_CLOCK_SECONDS = 60.0
"""A source's clock and ours may differ by this much: a candle is judged closed by the source's."""


def doctor(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port that the web UI shall have.")] = 3000,
    online: Annotated[bool, typer.Option("--online", help="Compare the clock with the sources'; sends a request.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check versions, experiment, home, receipts, lake, ledger, source, history, port and clock; changes nothing."""
    from crossattn_core.experiment import load_experiment
    from crossattn_core.home import Home
    from crossattn_core.line import Line
    from crossattn_pipeline.instance import experiment_path, home_from

    output, root = Output(as_json), home_from(os.environ, home)
    failed = [not _shown(output, "versions", _versions)]
    lines: list[Line] = []

    def load() -> str:
        path = experiment_path(os.environ, experiment)
        lines.append(Line(load_experiment(path), Home(root)))
        return f"{lines[0].experiment.name} ({path or 'the defaults'}), {len(lines[0].experiment.assets)} assets"

    failed.append(not _shown(output, "experiment", load))
    if lines:
        line = lines[0]
        checks: dict[str, Callable[[Line], str]] = {
            "home": _home,
            "receipts": _receipts,
            "lake": _lake,
            "ledger": _ledger,
            "source": _source,
            "history": _history,
            "port": lambda line: _port(line, port),
            "clock": lambda line: _clock(line, online),
        }
        failed += [not _shown(output, name, lambda check=check: check(line)) for name, check in checks.items()]
    if any(failed):
        raise typer.Exit(FAILED)


def _shown(output: Output, name: str, check: Callable[[], str]) -> bool:
    """Run one check and show what it says; whether it passed."""
    try:
        text, passed = check(), True
    except CrossattnError as error:
        text, passed = str(error), False
    except (OSError, sqlite3.Error) as error:
        text, passed = in_words(error) or str(error), False
    output.event("checked", f"{'ok    ' if passed else 'FAILED'}  {name:<10}  {text}", check=name, passed=passed, message=text)
    return passed


def _versions() -> str:
    from packaging.requirements import Requirement

    python = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        raise CrossattnError(f"this is Python {python}; 3.11 to 3.13 are supported: make a new environment with one of them")
    try:
        wanted = [Requirement(text) for text in requires("crossattn") or ()]
    except PackageNotFoundError:
        return f"Python {python}; crossattn is not installed, so that the versions it needs are not known here"
    faults = []
    for package in wanted:
        if package.marker is not None and not package.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(package.name)
        except PackageNotFoundError:
            faults.append(f"{package.name} is missing ({package})")
            continue
        if not package.specifier.contains(found, prereleases=True):
            faults.append(f"{package.name} is {found}, needed: {package.specifier}")
    if faults:
        raise CrossattnError(f"{'; '.join(faults)}; install crossattn anew with its lock, constraints.txt")
    return f"Python {python}, dagster {version('dagster')}, torch {version('torch')}, duckdb {version('duckdb')}"


def _home(line: Line) -> str:
    from crossattn_core.home import check_writable, open_home

    root = line.home.root
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    if not nearest.is_dir():
        raise CrossattnError(f"{root}: {nearest} is a file, not a folder; choose another one with --home or CROSSATTN_HOME")
    free = shutil.disk_usage(nearest).free
    if free < MIN_FREE_BYTES:
        raise CrossattnError(f"{root}: {free / 2**20:.0f} MiB are free, {MIN_FREE_BYTES / 2**20:.0f} are needed; free some space")
    if not (root / "home.json").exists():
        if not os.access(nearest, os.W_OK):
            raise CrossattnError(f"{nearest} cannot be written to; choose another home with --home or CROSSATTN_HOME")
        return f"{root}: not there yet; 'crossattn run' makes it"
    check_writable(open_home(root, line.experiment))
    return f"{root}, {free / 2**30:.0f} GiB free"


def _receipts(line: Line) -> str:
    from crossattn_core.walk_forward.overrides import read_overrides

    read_overrides(line.home)  # refuses a damaged file
    path = line.home.receipts
    if not path.exists():
        return "none yet"
    _check_database(path, "move it aside: the next run makes everything again")
    accepted = sum(len(line.receipts.accepted(stage.name)) for stage in line.stages)
    return f"{path.name} is whole" + (f"; code was accepted {accepted} times ('crossattn stale --why')" if accepted else "")


def _lake(line: Line) -> str:
    from datetime import date

    from crossattn_core.candles.lake.store import SCHEMAS

    ledger, folder = line.lake.ledger, line.lake.folder
    named = [row for kind in SCHEMAS for row in ledger.coverage(kind, date.min, date.max) if row.file is not None]
    missing = [row for row in named if not (folder / str(row.file)).is_file()]
    if missing:
        row = missing[0]
        raise CrossattnError(
            f"{len(missing)} of {len(named)} files are gone, the first is {folder / str(row.file)}; restore them from a "
            "copy, or set the asset's history aside with 'crossattn candles retire' and fetch it again"
        )
    return f"{folder}: {len(named)} files; 'crossattn candles verify' compares their bytes" if named else f"{folder}: empty"


def _ledger(line: Line) -> str:
    from crossattn_core.tuning.ledger import read_trials

    path = line.lake.folder / "ledger.sqlite"
    if path.is_file():
        _check_database(path, f"restore it from a copy, or move {path.parent} aside and fetch the candles again")
    trials = len(read_trials(line.home))
    return f"{path.name} is {'whole' if path.is_file() else 'not there yet'}; {trials} trials of tuning are counted"


def _source(line: Line) -> str:
    feed = line.feed()
    faults = [why for asset in line.experiment.assets if (why := feed.for_venue(asset.venue).absent(asset))]
    if faults:
        raise CrossattnError("\n".join(dict.fromkeys(faults)))
    return f"feed.kind {line.experiment.feed.kind}" + (f", {where}" if (where := line.experiment.feed.folder) else "")


def _history(line: Line) -> str:
    from crossattn_pipeline.instance import POSTGRES_VARIABLE

    if os.environ.get("DAGSTER_HOME"):
        return f"as {os.environ['DAGSTER_HOME']}/dagster.yaml says (DAGSTER_HOME)"
    if url := os.environ.get(POSTGRES_VARIABLE):
        from crossattn_pipeline.postgres import check_postgres

        return check_postgres(url)
    settings = line.home.dagster / "dagster.yaml"
    if settings.is_file() and POSTGRES_VARIABLE in settings.read_text(encoding="utf-8"):
        raise CrossattnError(f"{settings} has Dagster's history in PostgreSQL: set {POSTGRES_VARIABLE}")
    return f"SQLite in {line.home.dagster}"


def _port(line: Line, port: int) -> str:
    from crossattn_pipeline.ui import HOST, is_free, served_port

    instance = Path(os.environ.get("DAGSTER_HOME") or line.home.dagster)
    served = served_port(instance)
    if served is not None:
        return f"the web UI and daemons of this home run: http://{HOST}:{served}"
    if not is_free(port):
        raise CrossattnError(f"{port} on {HOST} is taken by another program; choose another, as in --port {port + 1}")
    return f"{port} on {HOST} is free; no daemon of this home runs"


def _clock(line: Line, online: bool) -> str:
    from crossattn_core.days import to_naive

    now, query = to_naive(line.clock()), "select max(fetched_at) from coverage"
    with line.lake.ledger.reading() as connection:
        (newest,) = connection.execute(query).fetchone()
    if newest and (behind := (datetime.fromisoformat(newest) - now).total_seconds()) > MAX_CLOCK_SECONDS:
        raise CrossattnError(
            f"{now:%Y-%m-%d %H:%M:%S} UTC is {behind:.0f} s before the newest candle was fetched; set the machine's clock"
        )
    if not online:
        return f"{now:%Y-%m-%d %H:%M:%S} UTC; --online compares it with the sources'"
    offsets = []
    for venue in line.experiment.venues:
        offset = (to_naive(line.feed().for_venue(venue).now()) - to_naive(line.clock())).total_seconds()
        if abs(offset) > MAX_CLOCK_SECONDS:
            raise CrossattnError(f"{venue}'s clock is {offset:+.0f} s from this machine's; set the machine's clock")
        offsets.append(f"{venue} {offset:+.1f} s")
    return f"{now:%Y-%m-%d %H:%M:%S} UTC; {', '.join(offsets)}"


def _check_database(path: Path, what: str) -> None:
    if not path.is_file():
        raise CrossattnError(f"{path}: is no file; {what}")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            (found,) = connection.execute("pragma quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            raise CrossattnError(f"{path}: damaged ({error}); {what}") from error
    if found != "ok":
        raise CrossattnError(f"{path}: damaged ({found}); {what}")
