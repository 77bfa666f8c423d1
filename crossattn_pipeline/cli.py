"""The ``crossattn`` command: the same graph and the same instance as the web UI.

Exit codes: 0 complete, 1 failed (the message says what to do), 2 wrong usage, 3 incomplete (the source lacks candles).
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from crossattn_core.errors import CrossattnError
from crossattn_core.line import Line
from crossattn_core.model_stages import write_report
from crossattn_core.report.tables import headline
from crossattn_core.staleness import WHOLE
from crossattn_pipeline.candle_commands import add_candle_commands
from crossattn_pipeline.inspect_commands import add_inspect_commands
from crossattn_pipeline.options import AsJson, ExperimentFile, HomeFolder, open_line
from crossattn_pipeline.terminal import own_output, reporting
from crossattn_pipeline.tune_command import tune

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

COMPLETE, FAILED, INCOMPLETE = 0, 1, 3

Symbols = Annotated[str, typer.Option(help="Comma-separated symbols of the experiment; all when empty.")]
Start = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day; else the period's.")]
End = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day, inclusive; else the period's, or the newest complete.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs of a cold fit, in place of the experiment's.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Rows in a batch, in place of the experiment's.")]


@app.command()
def run(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    accept_code: Annotated[
        bool,
        typer.Option("--accept-code", help="Keep results over a change of code that changes none; the receipts say so."),
    ] = False,
    note: Annotated[str, typer.Option(help="With --accept-code: why results are the same.")] = "",
    as_json: AsJson = False,
) -> None:
    """Materialize what is stale, from candles to report, and print the headline."""
    from crossattn_pipeline.launch import materialize_stale

    began = time.monotonic()
    with _line(experiment, home, symbols, as_json, _training(epochs, batch_size)) as (line, console):
        first, last = _range(line, start, end)
        if accept_code:
            for accepted in line.staleness.accept_code(datetime.now(UTC), note):
                _say(console, as_json, "accepted_code", f"{accepted.stage}: code accepted", asdict(accepted))
        ran = materialize_stale(line, first, last, lambda text: console.print(text, highlight=False) if not as_json else None)
        if not ran and not as_json:
            console.print("Everything is up to date; nothing to recompute.")
        if last == line.last_day:
            _show_report(line, console, as_json)
        elif as_json:
            sys.stdout.write(json.dumps({"event": "page_waits", "made_up_to": f"{last}", "until": f"{line.last_day}"}) + "\n")
        else:
            console.print(
                f"The page is written once {line.last_day} is there; 'crossattn report --as-of {last}' writes one as of then.",
                highlight=False,
            )
        if not as_json:
            console.print(f"{time.monotonic() - began:.0f} s", highlight=False)


@app.command()
def stale(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    start: Start = None,
    end: End = None,
    why: Annotated[bool, typer.Option("--why", help="Each stage's days by reason, and what code was accepted.")] = False,
    as_json: AsJson = False,
) -> None:
    """What 'crossattn run' would make again: stages whose code, knobs or inputs changed, or that were never made."""
    with _line(experiment, home, "", as_json) as (line, console):
        first, last = _range(line, start, end)
        staleness = line.staleness
        lines = {stage.name: staleness.lines(stage.name, first, last) for stage in line.stages if stage.is_asset}
        for name, reasons in lines.items():
            keys = [key for key in staleness.reasons(name) if key == WHOLE or first.isoformat() <= key <= last.isoformat()]
            if not keys:
                continue
            short = f"{name}: {len(keys)} days" if staleness.table[name].is_dated else name
            _say(
                console,
                as_json,
                "stale",
                "\n".join(reasons) if why else short,
                {"stage": name, "partitions": keys, "why": reasons},
            )
        if not as_json and not any(lines.values()):
            console.print("Everything is up to date; nothing to recompute.")
        if why:
            for stage in line.stages:
                for row in line.receipts.accepted(stage.name):
                    text = f"{row.stage}: code accepted on {row.at:%Y-%m-%d %H:%M} UTC" + (f", {row.note}" if row.note else "")
                    _say(console, as_json, "accepted_code", text, asdict(row))


@app.command()
def fetch(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
) -> None:
    """Bring the lake up to date with the feed; nothing that is stored is asked for twice."""
    from crossattn_pipeline.launch import materialize

    with _line(experiment, home, symbols, as_json) as (line, console):
        first, last = _range(line, start, end)
        stages = line.experiment.candle_stages
        if not as_json:
            days = (last - first).days + 1
            console.print(f"registering {days} days of {len(stages)} assets with Dagster", highlight=False)
        result = materialize(line, "data", stages, [first, last], must_pass=False)
        complete = [check for check in result.get_asset_check_evaluations() if check.check_name == "complete"]
        incomplete = [check for check in complete if not check.passed]
        for check in complete:
            numbers = {name: check.metadata[name].value for name in ("expected", "missing", "quarantined")}
            name = check.asset_key.to_user_string()
            if as_json:
                sys.stdout.write(json.dumps({"event": "fetched", "asset": name, "passed": check.passed, **numbers}) + "\n")
            else:
                console.print(f"{name:<22} {'complete' if check.passed else 'INCOMPLETE'}  {numbers}", highlight=False)
    if incomplete:
        raise typer.Exit(INCOMPLETE)


@app.command()
def train(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    end: End = None,
    family: Annotated[str, typer.Option(help="Model family.")] = "attention",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    as_json: AsJson = False,
) -> None:
    """Fit one checkpoint that knows everything up to --end; the panel must be there (crossattn run, or the data job)."""
    from crossattn_pipeline.launch import materialize

    with _line(experiment, home, symbols, as_json, _training(epochs, batch_size)) as (line, console):
        _, last = _range(line, None, end)
        config = {"ops": {"trained_model": {"config": {"family": family, "last_day": last.isoformat()}}}}
        result = materialize(line, "train", ["trained_model"], [], run_config=config)
        metadata = result.asset_materializations_for_node("trained_model")[0].metadata
        manifest: Any = metadata["manifest"].value
        model_id = metadata["model_id"].value
        if as_json:
            sys.stdout.write(json.dumps({"event": "trained", "model_id": model_id, "manifest": manifest}, default=str) + "\n")
        else:
            console.print(f"model {model_id} ({family}), known up to {last}: {line.home.models / str(model_id)}", highlight=False)


@app.command()
def backtest(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Decide weights anew from the stored forecasts, trade them and write the report."""
    from crossattn_pipeline.launch import materialize

    with _line(experiment, home, "", as_json) as (line, console):
        materialize(line, "models", ["target_weights", "backtest_report"], [line.last_day])
        _show_report(line, console, as_json)


@app.command()
def report(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Write the page as of the end of this day (UTC) and show it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the headline of the newest report and where its page is; write it first where it is missing or stale."""
    from crossattn_pipeline.launch import materialize

    with _line(experiment, home, "", as_json) as (line, console):
        if as_of is not None:
            _, day = _range(line, None, as_of)
            write_report(line, day)
            _show_report(line, console, as_json, day)
            return
        if line.staleness.is_stale("backtest_report"):
            materialize(line, "models", ["target_weights", "backtest_report"], [line.last_day])
        _show_report(line, console, as_json)


@app.command()
def ui(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
) -> None:
    """The Dagster web UI with its daemons on 127.0.0.1, over the same home."""
    from crossattn_pipeline.ui import serve

    serve(experiment, home, port)


add_candle_commands(app)
add_inspect_commands(app)
app.command()(tune)


def main() -> None:
    """Entry point of the ``crossattn`` command: a refusal is one message, not a traceback."""
    code = COMPLETE
    try:
        app()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else FAILED
    except CrossattnError as error:
        code = FAILED
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"event": "failed", "error": type(error).__name__, "message": str(error)}) + "\n")
        Console(stderr=True, soft_wrap=True).print(f"{type(error).__name__}: {error}", style="red", highlight=False, markup=False)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is stored by now. An ordinary exit would let DuckDB's binding report, at teardown, leaks that are none.
    os._exit(code)


def _say(console: Console, as_json: bool, event: str, text: str, values: dict[str, Any]) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"event": event} | values, default=str) + "\n")
    else:
        console.print(text, highlight=False)


@contextmanager
def _line(
    experiment: Path | None, home: Path | None, symbols: str, as_json: bool, overrides: dict[str, Any] | None = None
) -> Iterator[tuple[Line, Console]]:
    output = own_output(sys.stderr if as_json else sys.stdout)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 120
    console = Console(file=output, soft_wrap=True, width=width)
    line = open_line(experiment, home, symbols, overrides)
    with reporting(console, as_json=as_json) as report_progress:
        line.report = report_progress
        yield line, console


def _training(epochs: int | None, batch_size: int | None) -> dict[str, Any]:
    chosen = {"epochs": epochs, "batch_size": batch_size}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {"training": given} if given else {}


def _range(line: Line, start: datetime | None, end: datetime | None) -> tuple[date, date]:
    first = start.date() if start else line.experiment.period.start
    last = end.date() if end else line.last_day
    period = f"{line.experiment.period.start} .. {line.last_day}"
    if not line.experiment.period.start <= first <= last <= line.last_day:
        raise CrossattnError(
            f"range {first} .. {last} does not lie within the experiment's complete days {period}; choose days in it"
        )
    return first, last


def _show_report(line: Line, console: Console, as_json: bool, day: date | None = None) -> None:
    folder = line.home.reports / str(day or line.last_day)
    page, numbers = folder / "report.html", folder / "report.json"
    if not numbers.is_file():
        raise CrossattnError(
            f"{numbers}: no report yet; run 'crossattn run' over the whole period, which has to be longer than the "
            f"{line.experiment.retrain.minimum_days} days of history that the first model needs (retrain.minimum_days)"
        )
    read = json.loads(numbers.read_text(encoding="utf-8"))
    if as_json:
        sys.stdout.write(
            json.dumps({"event": "report", "page": str(page), "verdict": read["verdict"], "strategies": read["strategies"]})
            + "\n"
        )
        return
    console.print(headline(read))
    _show_leads(json.loads((folder / "leads.json").read_text(encoding="utf-8")), console)
    console.print(f"Report: {page}", highlight=False)


def _show_leads(read: dict[str, Any], console: Console) -> None:
    leads, truth_known = read["leads"], read["truth_known"]
    if not leads:
        console.print("Predictive leads: no lead found.")
        return
    shown = Table(title="Predictive leads" + (" against the planted truth" if truth_known else ""), title_justify="left")
    for column in ("leader", "follower", "lag found", *(("lag planted",) if truth_known else ()), "why"):
        shown.add_column(column, overflow="fold")
    for lead in leads:
        planted = f"{lead['planted_lag_hours']} h" if lead["planted_lag_hours"] is not None else "none"
        found = f"{lead['lag_hours']} h" if lead["named"] else "not named"
        shown.add_row(lead["leader"], lead["follower"], found, *((planted,) if truth_known else ()), lead["why"])
    console.print(shown)


if __name__ == "__main__":
    main()
