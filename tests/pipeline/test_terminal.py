"""Progress on a terminal, in a file, and for machines."""

import contextlib
import io
import json
import os
import re
import time

import pytest
from rich.console import Console

from crossattn_core.progress import Progress
from crossattn_pipeline.commands.terminal import own_output, reporting

STEP = Progress("candles/bybit", 3, 9, "windows", "BTCUSDT, 2,880 rows")


def everything_on(terminal: int) -> str:
    # One read gives one page of a terminal's buffer: a slow machine draws more bars than fit it.
    os.set_blocking(terminal, False)
    parts = []
    with contextlib.suppress(OSError):  # nothing more, or the other side is closed
        while part := os.read(terminal, 100_000):
            parts.append(part)
    return b"".join(parts).decode()


def test_bars_stay_on_the_terminal_with_rate_and_time_left_while_the_process_output_goes_to_a_file(tmp_path):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stream, (tmp_path / "step.log").open("w") as log:
        console = Console(file=own_output(stream), width=120)
        os.dup2(log.fileno(), stream.fileno())  # what Dagster does while a step runs
        with reporting(console) as report:
            report(Progress("candles/bybit", 1, 9, "windows"))
            time.sleep(0.2)
            report(STEP)
    shown = everything_on(ours)
    assert "3/9" in shown
    assert "BTCUSDT, 2,880 rows" in shown
    assert re.search(r"\d/s|\d s each", shown)  # a slow machine makes less than one a second
    assert "0:00:00" in shown
    assert (tmp_path / "step.log").read_text() == ""
    os.close(ours)


def test_elsewhere_a_stage_is_shown_in_plain_lines():
    written = io.StringIO()
    with reporting(Console(file=written, width=120)) as report:
        report(STEP)
    assert written.getvalue().startswith("candles/bybit          3/9 windows  0 s  BTCUSDT, 2,880 rows")
    assert "\x1b" not in written.getvalue()


def test_for_machines_each_step_is_a_json_line(capfd: pytest.CaptureFixture[str]):
    with reporting(Console(), as_json=True) as report:
        report(STEP)
    event = json.loads(capfd.readouterr().out)
    assert (event["event"], event["stage"], event["done"], event["total"]) == ("progress", "candles/bybit", 3, 9)
