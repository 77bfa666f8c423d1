"""What a user can cause ends with one message, its exit code and no traceback, before any work is done."""

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from typer.main import get_command

from crossattn_core.storage import write_text
from crossattn_pipeline.cli import app
from tests.forks import PROJECT, forked
from tests.pipeline.commands import crossattn, environment_of, main, refused
from tests.small import small_experiment, write_market


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    write_market(folder / "market")
    return folder / "market"


@pytest.fixture
def small(market: Path, tmp_path: Path) -> str:
    """An experiment file whose candles are there."""
    return _written(tmp_path / "small.yaml", market)


def _written(path: Path, folder: Path, **sections: object) -> str:
    path.write_text(json.dumps(small_experiment(folder, **sections).model_dump(mode="json")), encoding="utf-8")
    return str(path)


def _as_nobody(*arguments: str) -> None:
    if os.geteuid() == 0:
        os.setresuid(65534, 65534, 65534)
    main(*arguments)


def _with_a_full_disk(*arguments: str) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.modules["crossattn_core.storage"].os.fsync = full
    main(*arguments)


def test_a_home_that_is_a_file_is_refused(small: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(crossattn("run", "--experiment", small, home=home), f"{tmp_path / 'file'} is a file, not a folder", "--home")


def test_a_home_that_cannot_be_made_is_refused(small: str) -> None:
    refused(crossattn("run", "--experiment", small, home=Path("/proc/home")), "home /proc/home cannot be written to", "--home")


def test_a_home_without_the_right_to_write_is_refused_before_the_work(market: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        shutil.copytree(market, Path(folder) / "market")
        small, home = _written(Path(folder) / "small.yaml", Path(folder) / "market"), Path(folder) / "home"
        assert crossattn("stale", "--experiment", small, home=home).returncode == 0  # founds it
        home.chmod(0o555)
        for command in (("run",), ("retrain", "--note", "n"), ("fetch",), ("ui", "--port", "3999")):
            done = forked(_as_nobody, command[0], "--experiment", small, *command[1:], environment=environment_of(home))
            refused(done, "give this user the right to read and write there", str(home))
        home.chmod(0o755)


def test_an_experiment_that_may_not_be_read_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "closed.yaml"
        path.touch(0o600)
        done = forked(_as_nobody, "stale", "--experiment", str(path), environment=environment_of(Path(folder) / "home"))
        if os.geteuid() == 0:
            refused(done, f"{path}: cannot be read (Permission denied)")


def test_a_full_disk_is_told_with_what_to_do(small: str, tmp_path: Path) -> None:
    founded = tmp_path / "founded"
    crossattn("stale", "--experiment", small, home=founded)
    for home in (tmp_path / "home", founded):
        done = forked(_with_a_full_disk, "run", "--experiment", small, environment=environment_of(home))
        refused(done, "No space left on device", "free some space")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"period: {start: 2025-02-30}", "2025-02-30 is no date (day is out of range for month)"),
        (b"period: {start: '2025-02-30'}", "period.start"),
        (bytes(range(256)), "not text in UTF-8"),
        (b"name: a\0b", "not YAML"),
        (b"training: {epochs: 2}\nname: a\ntraining: {epochs: 3}", "'training' is there twice, first in line 1; keep one"),
        (b"training: {epochs: 2, epochs: 3}", "'epochs' is there twice, first in line 1; keep one"),
        (b"1: 2", "1 is no name of a section"),
        (b"a: " + b"[" * 5000, "not YAML"),
        (b"training: {epochs: !!int abc}", "abc is no whole number"),
        (b"training: {epochs: !!float abc}", "abc is no number"),
        (b"training: {epochs: !!bool abc}", "abc is no truth value"),
        (b"training: {epochs: " + b"9" * 5000 + b"}", f"{'9' * 40}... is no whole number"),
        (b"training: {epochs: 1:30}", "'1:30' is no whole number here: with colons it is read in base 60"),
        (b"period: {start: 2025-03-01T00:00:00+05:00}", "is no date here: a day has neither time nor zone"),
        (b"period: {start: 2025-01-01, end: 9999-12-31}", "at most 36525 make one, and 'end: null' goes on"),
        (b"period: {start: 0001-01-01}", "the earliest that one can start is 1900-01-01"),
        (b'feed: {kind: files, folder: "a\\0b"}', "feed.folder: no folder's name holds a null byte"),
        (b'feed: {kind: files, lake: "a\\0b"}', "feed.lake: no folder's name holds a null byte"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "given.yaml"
    path.write_bytes(content)
    refused(crossattn("run", "--experiment", str(path), home=tmp_path / "home"), says, str(path))
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("train", "--family", "nope"), "no model family is called 'nope'"),
        (("run", "--note", "n"), "--note says why results are the same, and goes with --accept-code"),
        (("fetch", "--symbols", ","), "--symbols ',' names no symbol"),
        (("fetch", "--symbols", "BTCUSD"), "'BTCUSD' names 0 assets"),
        (("candles", "status", "--end", "9999-12-31"), "--end 9999-12-31 is not over yet"),
        (("candles", "refetch", "--end", "2999-01-01"), "--end 2999-01-01 is not over yet"),
        (("tune", "--out", "/proc/none/best.yaml"), "/proc/none: No such file or directory"),
        (("sql", "docs", "."), "Is a folder, not a file"),
        (("backup", ""), "no place for backups"),
        (("backup", "file://machine/backups"), "a file: address names no other machine"),
        (("backup", "/nowhere", "--verify", "--list"), "choose one"),
        (("backup", "/nowhere", "--backup", "b"), "add --verify to compare it"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_work(small: str, tmp_path: Path, command: tuple[str, ...], says: str) -> None:
    experiment = () if command[0] == "sql" else ("--experiment", small)
    done = crossattn(*command, *experiment, home=tmp_path / "home")
    refused(done, says)
    assert done.stdout == ""
    assert not (tmp_path / "home" / "dagster").exists()


def test_a_name_may_stand_in_two_sections_and_in_a_merge(tmp_path: Path) -> None:
    from crossattn_core.experiment import load_experiment

    path = tmp_path / "given.yaml"
    path.write_text("selection: &days {minimum_days: 60}\nretrain: {<<: *days, every_days: 9}\n")
    assert load_experiment(path).retrain.minimum_days == load_experiment(path).selection.minimum_days == 60


@pytest.mark.parametrize("command", [("run",), ("fetch",), ("candles", "refetch"), ("fetch", "--symbols", "NVDA")])
def test_a_missing_folder_is_told_before_the_work(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = _written(tmp_path / "nowhere.yaml", tmp_path / "nowhere")
    done = crossattn(*command, "--experiment", path, home=tmp_path / "home")
    refused(done, f"{tmp_path / 'nowhere'}: no such folder")
    assert not (tmp_path / "home" / "dagster").exists()


def test_every_file_that_is_missing_is_named_before_the_work(tmp_path: Path) -> None:
    write_market(tmp_path / "market")
    for path in ("bybit_1h/SOLUSDT.parquet", "yahoo_1h/NVDA.parquet"):
        (tmp_path / "market" / path).unlink()
    done = crossattn("run", "--experiment", _written(tmp_path / "e.yaml", tmp_path / "market"), home=tmp_path / "home")
    refused(done, "no file for SOLUSDT", "no file for NVDA")


@pytest.mark.parametrize("command", ["run", "backtest", "report"])
def test_a_period_that_is_over_before_the_first_model_is_refused_before_the_work(
    market: Path, tmp_path: Path, command: str
) -> None:
    path = _written(tmp_path / "short.yaml", market, period={"start": "2025-03-01", "end": "2025-03-14"})
    done = crossattn(command, "--experiment", path, home=tmp_path / "home")
    refused(done, "over before the first model serves, on 2025-03-15", "retrain.minimum_days")
    assert not (tmp_path / "home" / "dagster").exists()


def test_a_busy_port_ends_the_ui_at_once_with_the_remedy(small: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = crossattn("ui", "--experiment", small, "--port", str(port), home=tmp_path / "home")
        refused(done, f"port {port} on 127.0.0.1 is taken", f"--port {port + 1}")
        checked = crossattn("doctor", "--experiment", small, "--port", str(port), home=tmp_path / "home")
    assert f"{port} on 127.0.0.1 is taken" in checked.stdout
    assert checked.returncode == 1


def test_a_second_set_of_daemons_over_a_home_is_refused_and_the_first_is_named(small: str, tmp_path: Path) -> None:
    from crossattn_pipeline.ui import _only_one, served_port

    instance = tmp_path / "home" / "dagster"
    crossattn("fetch", "--experiment", small, "--end", "2025-03-02", home=tmp_path / "home")
    with _only_one(instance, 3456):
        assert served_port(instance) == 3456
        refused(crossattn("ui", "--experiment", small, "--port", "3457", home=tmp_path / "home"), "http://127.0.0.1:3456")
    assert served_port(instance) is None


def test_a_look_at_the_port_of_the_ui_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    from crossattn_pipeline.ui import _only_one, served_port

    with (tmp_path / "ui.lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert served_port(tmp_path) is None
        letting_go = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        letting_go.start()
        with _only_one(tmp_path, 3456):
            assert served_port(tmp_path) == 3456
        letting_go.join()


def test_a_ui_that_has_not_said_its_port_yet_is_served_nowhere(tmp_path: Path) -> None:
    from crossattn_pipeline.ui import served_port

    with (tmp_path / "ui.lock").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        assert served_port(tmp_path) is None


def test_one_symbol_is_fetched_into_the_home_of_the_whole_experiment(small: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = crossattn("fetch", "--experiment", small, "--symbols", "NVDA", "--json", home=home)
    assert done.returncode == 0, done.stderr
    fetched = {row["asset"]: row for row in map(json.loads, done.stdout.splitlines()) if row["event"] == "fetched"}
    assert list(fetched) == ["yahoo:equity:NVDA", "yahoo:equity:NVDA dividends"]
    assert fetched["yahoo:equity:NVDA"]["missing"] == 0
    status = crossattn("candles", "status", "--experiment", small, "--json", home=home)
    rows = {row["asset_id"]: row["rows"] for row in map(json.loads, status.stdout.splitlines()) if row["kind"] == "candles"}
    assert rows["yahoo:equity:NVDA"] > 0
    assert rows["bybit:linear:BTCUSDT"] == 0
    two = crossattn("fetch", "--experiment", small, "--symbols", "BTCUSDT,NVDA", "--end", "2025-03-02", home=home)
    assert two.returncode == 0, two.stderr
    refused(crossattn("fetch", "--experiment", small, "--symbols", "TSLA", home=home), "'TSLA' names 0 assets")


def test_two_symbols_are_the_universe_of_a_new_home(small: str, tmp_path: Path) -> None:
    chosen = ("--experiment", small, "--symbols", "BTCUSDT,NVDA", "--end", "2025-03-02")
    assert crossattn("fetch", *chosen, home=tmp_path / "home").returncode == 0
    stamp = json.loads((tmp_path / "home" / "home.json").read_text(encoding="utf-8"))
    assert stamp["universe"] == ["bybit:linear:BTCUSDT", "yahoo:equity:NVDA"]


def test_an_override_outside_the_period_is_refused(small: str, tmp_path: Path) -> None:
    for command in ("retrain", "rollback"):
        for day in ("2025-02-28", "2025-03-29"):
            done = crossattn(command, "--experiment", small, "--note", "n", "--day", day, home=tmp_path / "home")
            refused(done, f"{day} lies outside the period 2025-03-01 .. 2025-03-28")


def test_overrides_are_listed_by_number_and_withdrawn(small: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for day in ("2025-03-20", "2025-03-24"):
        crossattn("retrain", "--experiment", small, "--note", f"on {day}", "--day", day, home=home)
    listing = crossattn("overrides", "list", "--experiment", small, "--json", home=home)
    rows = [json.loads(row) for row in listing.stdout.splitlines()]
    assert [(row["number"], row["day"], row["kind"]) for row in rows] == [
        (1, "2025-03-20", "forced"),
        (2, "2025-03-24", "forced"),
    ]
    withdrawn = crossattn("overrides", "withdraw", "1", "--experiment", small, home=home)
    assert withdrawn.returncode == 0, withdrawn.stderr
    assert json.loads(withdrawn.stdout)["day"] == "2025-03-20"
    assert "on 2025-03-24" in crossattn("overrides", "list", "--experiment", small, home=home).stdout
    refused(crossattn("overrides", "withdraw", "2", "--experiment", small, home=home), "no override 2: there are 1")


def test_an_override_of_a_stepped_day_is_withdrawn_only_with_leave_to_step_again(ready_folder: Path, tmp_path: Path) -> None:
    home, small = tmp_path / "home", str(ready_folder / "small.yaml")
    shutil.copytree(ready_folder / "home", home)
    order = ("retrain", "--experiment", small, "--note", "n", "--day", "2025-03-20", "--rewrite")
    assert crossattn(*order, home=home).returncode == 0
    withdraw = ("overrides", "withdraw", "1", "--experiment", small)
    refused(crossattn(*withdraw, home=home), "9 days are stepped again")
    assert crossattn(*withdraw, "--rewrite", home=home).returncode == 0


def test_a_day_is_called_day_and_one_outside_the_period_is_refused(ready_folder: Path) -> None:
    small, home = str(ready_folder / "small.yaml"), ready_folder / "home"
    for command in (("leaders",), ("report",), ("explain", "--symbol", "BTCUSDT")):
        done = crossattn(*command, "--experiment", small, "--day", "2025-04-01", home=home)
        refused(done, "--day 2025-04-01 does not lie within the experiment's complete days 2025-03-01 .. 2025-03-28")


def _commands() -> dict[str, set[str]]:
    """Command -> its sub-commands."""
    root = get_command(app)
    return {name: set(getattr(command, "commands", ())) for name, command in vars(root)["commands"].items()}


def test_messages_and_pages_name_commands_that_exist() -> None:
    known, wrong = _commands(), []
    sources = [path for folder in ("crossattn_core", "crossattn_pipeline") for path in (PROJECT / folder).rglob("*.py")]
    pages = [*(PROJECT / "docs").rglob("*.md"), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"]
    named = re.compile(r"['`]crossattn ([a-z]+)(?: ([a-z]+))?(?=[ '`)])")
    for path in [*sources, *pages]:
        if "decisions" in path.parts or path.name == "research_log.md":
            continue  # they tell what was so
        for verb, below in named.findall(path.read_text(encoding="utf-8")):
            if verb not in known or (known[verb] and below and below not in known[verb]):
                wrong.append((str(path.relative_to(PROJECT)), f"{verb} {below}".strip()))
    assert wrong == []


def test_every_day_option_is_called_day_and_no_command_has_another_name_for_it() -> None:
    root = get_command(app)
    options = {option for command in vars(root)["commands"].values() for parameter in command.params for option in parameter.opts}
    assert {"--day", "--start", "--end"} <= options
    assert not options & {"--date", "--as-of", "--on"}


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write_text(tmp_path / "handed over", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["handed over"]


def test_help_imports_nothing_that_a_command_runs() -> None:
    done = forked(_imported_by_help, environment=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def _imported_by_help() -> None:
    import subprocess

    code = (
        "import sys, json, crossattn_pipeline.cli; print(json.dumps(sorted({'dagster', 'torch', 'pandas'} & sys.modules.keys())))"
    )
    sys.stdout.write(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    sys.stdout.flush()
