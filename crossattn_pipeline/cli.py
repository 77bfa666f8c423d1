"""The ``crossattn`` command: the same graph and the same instance as the web UI.

Exit codes: 0 complete, 1 failed (the message says what to do), 2 wrong usage, 3 incomplete (the source lacks candles).
"""

import json
import os
import sys
import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from crossattn_core.candles.lake.revisions import changed_values
from crossattn_core.errors import CrossattnError
from crossattn_core.line import Line
from crossattn_core.model_stages import write_report
from crossattn_core.receipts import AcceptedCode
from crossattn_core.staleness import WHOLE
from crossattn_pipeline.commands.candles import INCOMPLETE, add_candle_commands
from crossattn_pipeline.commands.inspections import explain, leaders
from crossattn_pipeline.commands.options import (
    AsJson,
    End,
    ExperimentFile,
    HomeFolder,
    Start,
    Symbols,
    complete_days,
    reporting_line,
)
from crossattn_pipeline.commands.overrides import retrain, rollback
from crossattn_pipeline.commands.report import show_report
from crossattn_pipeline.commands.sql import add_sql_commands
from crossattn_pipeline.commands.terminal import Output
from crossattn_pipeline.commands.tune import tune

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

COMPLETE, FAILED = 0, 1
_UP_TO_DATE = "Everything is up to date; nothing to recompute."

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

    began, output = time.monotonic(), Output(as_json)
    with reporting_line(output, experiment, home, symbols, _training(epochs, batch_size)) as line:
        first, last = complete_days(line, start, end)
        if accept_code:
            for accepted in line.staleness.accept_code(line.clock(), note):
                _show_accepted(output, accepted, f"{accepted.stage}: code accepted")
        if not materialize_stale(line, first, last, output.text):
            output.text(_UP_TO_DATE)
        if last == line.last_day:
            show_report(line, output)
        else:
            output.event(
                "page_waits",
                f"The page is written once {line.last_day} is there; 'crossattn report --as-of {last}' writes one as of then.",
                made_up_to=last,
                until=line.last_day,
            )
        output.text(f"{time.monotonic() - began:.0f} s")


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
    output = Output(as_json)
    with reporting_line(output, experiment, home) as line:
        first, last = complete_days(line, start, end)
        staleness = line.staleness
        found = staleness.stale_stages(first, last)
        for entry in found:
            reasons = staleness.lines(entry.stage, first, last)
            count = f": {len(entry.days)} day{'s' if len(entry.days) > 1 else ''}" if entry.days else ""
            text = "\n".join(reasons) if why else f"{entry.stage}{count}"
            output.event("stale", text, stage=entry.stage, partitions=entry.days or [WHOLE], why=reasons)
        if not found:
            output.text(_UP_TO_DATE)
        for row in (row for stage in line.stages for row in line.receipts.accepted(stage.name) if why):
            noted = f", {row.note}" if row.note else ""
            _show_accepted(output, row, f"{row.stage}: code accepted on {row.at:%Y-%m-%d %H:%M} UTC{noted}")


@app.command()
def fetch(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    symbols: Symbols = "",
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
) -> None:
    """Bring the lake up to date with the feed; nothing that is stored is requested twice."""
    from crossattn_pipeline.launch import materialize

    output = Output(as_json)
    with reporting_line(output, experiment, home, symbols) as line:
        first, last = complete_days(line, start, end)
        stages = line.experiment.candle_stages
        output.text(f"registering {(last - first).days + 1} days of {len(stages)} assets with Dagster")
        result = materialize(line, "data", stages, [first, last], must_pass=False)
        complete = [check for check in result.get_asset_check_evaluations() if check.check_name == "complete"]
        for check in complete:
            numbers = {name: check.metadata[name].value for name in ("expected", "missing", "quarantined")}
            asset = check.asset_key.to_user_string()
            text = f"{asset:<22} {'complete' if check.passed else 'INCOMPLETE'}  {numbers}"
            output.event("fetched", text, asset=asset, passed=check.passed, **numbers)
        refused = any(check.metadata["quarantined"].value for check in complete)
        for asset in line.experiment.assets:
            settings, days = line.experiment.feed, line.staleness.days if refused else []
            for message in changed_values(line.lake, asset, first, last, settings.max_revision, days):
                output.event("changed", message)
    if not all(check.passed for check in complete):
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

    output = Output(as_json)
    with reporting_line(output, experiment, home, symbols, _training(epochs, batch_size)) as line:
        _, last = complete_days(line, None, end)
        config = {"ops": {"trained_model": {"config": {"family": family, "last_day": last.isoformat()}}}}
        result = materialize(line, "train", ["trained_model"], [], run_config=config)
        metadata = result.asset_materializations_for_node("trained_model")[0].metadata
        model_id = metadata["model_id"].value
        text = f"model {model_id} ({family}), known up to {last}: {line.home.models / str(model_id)}"
        output.event("trained", text, model_id=model_id, manifest=metadata["manifest"].value)


@app.command()
def backtest(experiment: ExperimentFile = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Decide weights anew from the stored forecasts, trade them and write the report."""
    output = Output(as_json)
    with reporting_line(output, experiment, home) as line:
        _trade_and_report(line)
        show_report(line, output)


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
    output, day = Output(as_json), None
    with reporting_line(output, experiment, home) as line:
        if as_of is not None:
            _, day = complete_days(line, None, as_of)
            write_report(line, day)
        elif line.staleness.is_stale("backtest_report"):
            _trade_and_report(line)
        show_report(line, output, day)
        if day is None and (waiting := line.staleness.stale_stages(line.experiment.period.start, line.last_day)):
            stages = ", ".join(entry.stage for entry in waiting)
            output.text(f"Made from stored results that 'crossattn run' would make again: {stages} ('crossattn stale --why').")


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
add_sql_commands(app)
for _command in (leaders, explain, retrain, rollback, tune):
    app.command()(_command)


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


def _trade_and_report(line: Line) -> None:
    from crossattn_pipeline.launch import materialize

    materialize(line, "models", ["target_weights", "backtest_report"], [line.last_day])


def _show_accepted(output: Output, accepted: AcceptedCode, text: str) -> None:
    output.event("accepted_code", text, **asdict(accepted))


def _training(epochs: int | None, batch_size: int | None) -> dict[str, Any]:
    chosen = {"epochs": epochs, "batch_size": batch_size}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {"training": given} if given else {}


if __name__ == "__main__":
    main()
