"""``crossattn run``, ``train``, ``backtest`` and ``report``: what runs the graph, and the page that it ends in."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossattn_core.errors import CrossattnError
from crossattn_pipeline.commands.options import (
    AsJson,
    Day,
    End,
    ExperimentFile,
    HomeFolder,
    Start,
    Symbols,
    complete_days,
    day_of,
    reporting_line,
)
from crossattn_pipeline.commands.report import show_report
from crossattn_pipeline.commands.terminal import Output

if TYPE_CHECKING:
    from crossattn_core.line import Line
    from crossattn_core.receipts import AcceptedCode

__all__ = ["backtest", "report", "run", "stale", "train"]

_UP_TO_DATE = "Everything is up to date; nothing to recompute."

Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs of a cold fit, in place of the experiment's.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Rows in a batch, in place of the experiment's.")]


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
    if note and not accept_code:
        raise CrossattnError("--note says why results are the same, and goes with --accept-code; give both or neither")
    began, output = time.monotonic(), Output(as_json)
    from crossattn_core.walk_forward.plan import check_period, first_served_day
    from crossattn_pipeline.launch import materialize_stale

    with reporting_line(output, experiment, home, symbols, _training(epochs, batch_size)) as line:
        first, last = complete_days(line, start, end)
        check_period(line.experiment)
        if accept_code:
            for accepted in line.staleness.accept_code(line.clock(), note):
                _show_accepted(output, accepted, f"{accepted.stage}: code accepted")
        if not materialize_stale(line, first, last, output.text):
            output.text(_UP_TO_DATE)
        served = first_served_day(line.experiment)
        if last < served:
            text = f"The page is written once the first model serves, on {served}."
            output.event("page_waits", text, made_up_to=last, until=served)
        elif last == line.last_day:
            show_report(line, output)
        else:
            output.event(
                "page_waits",
                f"The page is written once {line.last_day} is there; 'crossattn report --day {last}' writes one as of then.",
                made_up_to=last,
                until=line.last_day,
            )
        output.text(f"{time.monotonic() - began:.0f} s")


def stale(
    experiment: ExperimentFile = None,
    home: HomeFolder = None,
    start: Start = None,
    end: End = None,
    why: Annotated[bool, typer.Option("--why", help="Each stage's days by reason, and what code was accepted.")] = False,
    as_json: AsJson = False,
) -> None:
    """What 'crossattn run' would make again: stages whose code, knobs or inputs changed, or that were never made."""
    from crossattn_core.staleness import WHOLE

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
    from crossattn_core.families.registry import FAMILIES
    from crossattn_pipeline.launch import materialize

    FAMILIES.get(family)
    output = Output(as_json)
    with reporting_line(output, experiment, home, symbols, _training(epochs, batch_size)) as line:
        _, last = complete_days(line, None, end)
        config = {"ops": {"trained_model": {"config": {"family": family, "last_day": last.isoformat()}}}}
        result = materialize(line, "train", ["trained_model"], [], run_config=config)
        metadata = result.asset_materializations_for_node("trained_model")[0].metadata
        model_id = metadata["model_id"].value
        text = f"model {model_id} ({family}), known up to {last}: {line.home.models / str(model_id)}"
        output.event("trained", text, model_id=model_id, manifest=metadata["manifest"].value)


def backtest(experiment: ExperimentFile = None, home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Decide weights anew from the stored forecasts, trade them and write the report."""
    from crossattn_core.walk_forward.plan import check_period

    output = Output(as_json)
    with reporting_line(output, experiment, home) as line:
        check_period(line.experiment)
        _trade_and_report(line)
        show_report(line, output)


def report(experiment: ExperimentFile = None, home: HomeFolder = None, day: Day = None, as_json: AsJson = False) -> None:
    """Print the headline of the newest report and where its page is; write it first where it is missing or stale.

    With --day, the page as of the end of that day is written and shown.
    """
    from crossattn_core.model_stages import write_report
    from crossattn_core.walk_forward.plan import check_period

    output = Output(as_json)
    with reporting_line(output, experiment, home) as line:
        check_period(line.experiment)
        as_of = None if day is None else day_of(line, day)
        if as_of is not None:
            write_report(line, as_of)
        elif line.staleness.is_stale("backtest_report"):
            _trade_and_report(line)
        show_report(line, output, as_of)
        if as_of is None and (waiting := line.staleness.stale_stages(line.experiment.period.start, line.last_day)):
            stages = ", ".join(entry.stage for entry in waiting)
            output.text(f"Made from stored results that 'crossattn run' would make again: {stages} ('crossattn stale --why').")


def _trade_and_report(line: Line) -> None:
    from crossattn_pipeline.launch import materialize

    materialize(line, "models", ["target_weights", "backtest_report"], [line.last_day])


def _show_accepted(output: Output, accepted: AcceptedCode, text: str) -> None:
    output.event("accepted_code", text, **asdict(accepted))


def _training(epochs: int | None, batch_size: int | None) -> dict[str, Any]:
    chosen = {"epochs": epochs, "batch_size": batch_size}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {"training": given} if given else {}
