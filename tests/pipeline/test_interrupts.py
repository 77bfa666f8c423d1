"""A command that is interrupted, or whose streams are closed, ends in words and with its exit code."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.forks import forked
from tests.pipeline.commands import crossattn, environment_of, main, refused
from tests.small import small_experiment, write_market


@pytest.fixture
def small(tmp_path: Path) -> str:
    """An experiment file whose candles are there."""
    write_market(tmp_path / "market")
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(small_experiment(tmp_path / "market").model_dump(mode="json")), encoding="utf-8")
    return str(path)


def _interrupted_while_fetching(number: signal.Signals, *arguments: str) -> None:
    from crossattn_core import data_stages

    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)

    data_stages.ingest = interrupt
    main(*arguments)


def _interrupted_while_importing(*arguments: str) -> None:
    from crossattn_core import home

    signal.signal(signal.SIGINT, signal.default_int_handler)

    def half_imported(*_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        raise AttributeError("module 'sympy' has no attribute 'core'")

    home.open_home = half_imported
    main(*arguments)


def _without_streams(*arguments: str) -> None:
    """As with ``>&- 2>&-`` in a shell."""
    for stream in (1, 2):
        os.close(stream)
    sys.stdout = sys.stderr = None
    main(*arguments)


def test_an_interrupt_that_an_import_swallows_is_an_interrupt(small: str, tmp_path: Path) -> None:
    done = forked(_interrupted_while_importing, "stale", "--experiment", small, environment=environment_of(tmp_path / "home"))
    refused(done, "Interrupted: what was made is kept", code=130)


def test_a_command_without_streams_ends_as_it_does_with_them(small: str, tmp_path: Path) -> None:
    for command, code in (("candles", "venues"), 0), (("stale", "--experiment", small, "--start", "2030-01-01", "--json"), 1):
        done = forked(_without_streams, *command, environment=environment_of(tmp_path / "home"))
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_says_that_the_same_command_goes_on(
    small: str, tmp_path: Path, number: signal.Signals
) -> None:
    chosen = ("--experiment", small, "--end", "2025-03-02")
    done = forked(_interrupted_while_fetching, number, "run", *chosen, environment=environment_of(tmp_path / "home"))
    refused(done, "Interrupted: what was made is kept; the same command goes on from there", code=130)
    assert crossattn("fetch", *chosen, home=tmp_path / "home").returncode == 0
