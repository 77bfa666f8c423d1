"""Every command in the pages exists with its options, and those of the pages that a user follows run as they are printed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.main import get_command

from crossattn_core.experiment import Experiment
from crossattn_pipeline.cli import app
from tests.docs.doc_commands import BLOCK, PAGES, DocCommand, commands_of, crossattn_arguments
from tests.forks import PROJECT
from tests.small import small_experiment

COMMANDS = [command for page in PAGES for command in commands_of(page)]
TOLD_ONLY = ("docs/decisions", "docs/research_log.md")
"""Pages that tell what was so: their commands need not exist any more."""


def _name(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


def _resolved(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the rest."""
    command, rest = get_command(app), list(arguments)
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"crossattn {' '.join(arguments)}: no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    return command, rest


@cache
def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z_]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page.stem}: {command.line[:60]}")
def test_a_command_in_a_block_can_be_called_as_it_is_printed(command: DocCommand) -> None:
    match command.words:
        case ["make", target]:
            assert target in _make_targets()
        case ["crossattn", *arguments]:
            found, rest = _resolved(arguments)
            found.make_context("crossattn", rest)  # raises where an option is unknown, missing or not of its type
            for path in re.findall(r"experiments/[\w/]+\.yaml", command.line):
                assert (PROJECT / path).is_file() or path in WRITTEN_IN_THE_TUTORIAL
        case ["python", "-m", module, *_] if module != "venv":
            assert importlib.util.find_spec(module) is not None
        case ["python", "-c", source]:
            compile(source, command.line, "exec")
        case ["export", *assigned]:
            assert all("=" in word for word in assigned)
        case ["pip" | "iceberg/bin/pip", "install", *_] | ["docker", "compose", *_] | ["cp" | "printf", *_]:
            pass  # extras are held below, deploy/ by tests/deploy
        case ["python", "-m", "venv", _] | ["iceberg/bin/python", "lake_in_iceberg.py", _]:
            pass  # the page holds the script whole
        case words:
            pytest.fail(f"{words}: say here how it is held")


def test_a_block_without_a_language_holds_no_command() -> None:
    for page in PAGES:
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language not in ("bash", "console", "sh"):
                named = [
                    line for line in text.splitlines() if re.match(r"(\$ )?(make [a-z]+( |$)|crossattn [a-z]+|pip install)", line)
                ]
                assert not named, f"{_name(page)}: {named} stand in a block that no test reads; make it ```bash"


def test_every_command_in_running_text_exists_with_its_options() -> None:
    for page in PAGES:
        if _name(page).startswith(TOLD_ONLY):
            continue
        for arguments in crossattn_arguments(page.read_text(encoding="utf-8")):
            if arguments[0].startswith("-") or "|" in arguments:
                continue
            command, rest = _resolved(arguments)
            known = {option for parameter in getattr(command, "params", ()) for option in parameter.opts} | {"--help"}
            named = {word.strip("[],.").split("=")[0] for word in rest if word.strip("[").startswith("--")}
            assert named <= known, f"{_name(page)}: crossattn {' '.join(arguments)}"


def test_every_make_target_and_extra_in_running_text_exists() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for page in PAGES:
        if _name(page).startswith(TOLD_ONLY):
            continue
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`make ([a-z]+)[ `]", text)) <= _make_targets(), _name(page)
        assert {name for names in re.findall(r"crossattn\[([a-z0-9,]+)\]", text) for name in names.split(",")} <= extras.keys()


# What runs --------------------------------------------------------------------------------------------------------------------

RUN_PAGES = ("README.md", "docs/tutorial.md", "docs/questions.md", "docs/how_to/import_candles.md")
WRITTEN_IN_THE_TUTORIAL = ("experiments/mine.yaml", "experiments/own.yaml")
NOT_RUN = {
    "make ui": "serves until it is stopped; tests/pipeline/test_webserver.py starts it",
    "crossattn ui": "as make ui",
    "make test": "it is this suite",
    "make minute": "takes minutes, and candles that are not shipped; tests/test_line_grids.py runs the bar",
    "make daily": "as make minute",
    "make recorded": "takes a minute more; tests/docs/test_sample_candles.py runs it",
}
"""Command -> why it is resolved only. Each starts like a line in a page."""
RESOLVED_ONLY = {
    "CONTRIBUTING.md": "the demo and this suite, as in README.md; 'make hooks' writes into the user's git",
    "docs/how_to/backup.md": "needs a bucket; tests/pipeline/test_backup_commands.py runs the same over a server here",
    "docs/how_to/compute.md": "tests/compute runs the setting over a cluster on this machine",
    "docs/how_to/iceberg.md": "needs a package that is no extra",
    "docs/how_to/postgres.md": "needs a server; tests/pipeline/test_postgres.py starts one and runs the same",
    "docs/recorded_leads.md": "needs candles that are not shipped",
    "experiments/sample_candles/README.md": "tests/docs/test_sample_candles.py runs it and compares the bytes",
}
"""Page with commands -> why it is not run as it is printed."""
FIRST, LAST = date(2025, 3, 1), date(2025, 3, 28)


def _tiny(**sections: object) -> dict[str, Any]:
    """A home of seconds: the small experiment, its market simulated in place of files."""
    settings = small_experiment(Path("unused"), **sections).model_dump(mode="json")
    feed = Experiment().feed.model_dump(mode="json") | {"kind": "simulated"}
    feed["simulated"]["leads"] = [lead for lead in feed["simulated"]["leads"] if lead["follower"] in ("ETHUSDT", "SOLUSDT")]
    taken = {name: knobs for name, knobs in (settings | {"feed": feed}).items() if name not in ("costs", "grid")}
    return taken | sections  # without costs, which the tutorial sets


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder: its Makefile and experiments of the same names, each over a tiny home; ``crossattn`` is this tree's."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "docs"):
        (shutil.copytree if (PROJECT / name).is_dir() else shutil.copy)(PROJECT / name, folder / name)
    (folder / "experiments").mkdir()
    for name in ("demo", "live"):
        written = yaml.safe_dump(_tiny(name=name), sort_keys=False)
        (folder / "experiments" / f"{name}.yaml").write_text(written, encoding="utf-8")
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, module in (("crossattn", "crossattn_pipeline.cli"), ("python", "")):
        run = f"-m {module} " if module else ""
        (binaries / name).write_text(f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} {run}"$@"\n', encoding="utf-8")
        (binaries / name).chmod(0o755)
    (folder / ".venv" / ".installed").touch()
    _write_candles_of_a_user(folder)
    _run(folder, "make demo")
    return folder


def _write_candles_of_a_user(folder: Path) -> None:
    """What the pages import: a folder of tables, one of freqtrade's, TradingView's export, yfinance's history."""
    (folder / "my_candles").mkdir()
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        _candles(seed).to_csv(folder / "my_candles" / f"{symbol}.csv", index=False)
    history = _candles(2).set_axis(["Datetime", "Open", "High", "Low", "Close", "Volume"], axis=1)
    history.assign(**{"Dividends": 0.0, "Stock Splits": 0.0}).to_csv(folder / "AAPL.csv", index=False)
    _candles(3).to_csv(folder / "BINANCE_BTCUSDT.P, 60.csv", index=False)
    freqtrade = folder / "freqtrade" / "user_data" / "data" / "binance"
    freqtrade.mkdir(parents=True)
    _candles(4).rename(columns={"time": "date"}).to_feather(freqtrade / "BTC_USDT-1h.feather")


def _candles(seed: int) -> pd.DataFrame:
    """Hours of the tiny period, a random walk."""
    random = np.random.default_rng(seed)
    time = pd.date_range(FIRST, pd.Timestamp(LAST) + pd.Timedelta(hours=23), freq="h", tz="UTC")
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.005, len(time))))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    prices = {"open": opened, "high": high, "low": low, "close": close, "volume": random.uniform(1, 9, len(time))}
    return pd.DataFrame({"time": time, **prices})


def _run(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CROSSATTN", "DAGSTER", "PYTEST", "MAKE"))}
    kept |= {"PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), "COLUMNS": "200"}
    kept |= {"CROSSATTN_EXPERIMENT": str(folder / "experiments" / "demo.yaml")} | environment
    return subprocess.run(["bash", "-ec", line], cwd=folder, env=kept, input="y\n", capture_output=True, text=True, timeout=600)


def _within(line: str) -> str:
    """The line with each day moved into the tiny period: one before it to its first day, one after it to its last."""
    return re.sub(r"\b\d{4}-\d\d-\d\d\b", lambda day: str(min(max(date.fromisoformat(day[0]), FIRST), LAST)), line)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_commands_of_a_page_run_in_order(page: str, checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder, symlinks=True)
    environment: dict[str, str] = {}
    for command in commands_of(PROJECT / page):
        if command.line.startswith(tuple(NOT_RUN)):
            continue
        if command.words[0] == "export":
            name, _, value = command.words[1].partition("=")
            environment[name] = value
            continue
        if "experiments/own.yaml" in command.line:
            _write_own(folder, page)
        done = _run(folder, _within(command.line), **environment)
        # 3: what the command was asked is answered with no.
        assert done.returncode in (0, 3), f"{command.line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, done.stderr


def _write_own(folder: Path, page: str) -> None:
    """The experiment that the page shows in YAML, over a period and with a network that take seconds."""
    (shown,) = [text for language, text in BLOCK.findall((PROJECT / page).read_text("utf-8")) if language == "yaml"]
    own = yaml.safe_load(shown)
    assert Experiment.model_validate(own).feed.kind == "files"
    own = _tiny() | own | {"period": {"start": str(FIRST), "end": str(LAST)}}
    (folder / "experiments" / "own.yaml").write_text(
        yaml.safe_dump(own, sort_keys=False, default_flow_style=False), encoding="utf-8"
    )


def test_every_page_with_commands_is_run_or_says_why_not() -> None:
    assert {_name(command.page) for command in COMMANDS} == {*RUN_PAGES, *RESOLVED_ONLY}


def test_what_is_not_run_is_named_with_a_reason_and_stands_in_a_page() -> None:
    for line, reason in NOT_RUN.items():
        assert reason
        assert any(command.line.startswith(line) for command in COMMANDS), line
