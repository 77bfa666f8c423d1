"""The command line: exit codes that scripts can use, one clear message a fault."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import PROJECT
from tests.pipeline.commands import crossattn, environment_of
from tests.small import small_experiment, write_market


@pytest.fixture(scope="module")
def experiment_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_market(folder / "market")
    path = folder / "small.yaml"
    path.write_text(json.dumps(small_experiment(folder / "market").model_dump(mode="json")))
    return path


def test_fetch_shows_what_it_did_and_ends_with_zero(experiment_file: Path, tmp_path: Path) -> None:
    done = crossattn("fetch", "--experiment", str(experiment_file), "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    events = [json.loads(row) for row in done.stdout.splitlines()]
    fetched = {row["asset"]: row for row in events if row["event"] == "fetched"}
    assert fetched["candles/bybit"]["missing"] == 0
    assert fetched["candles/bybit"]["expected"] == 3 * 24 * 28


def test_fetch_ends_with_three_where_candles_are_missing(experiment_file: Path, tmp_path: Path) -> None:
    import pandas as pd

    market = tmp_path / "market"
    write_market(market)
    path = market / "bybit_1h" / "ETHUSDT.parquet"
    rows = pd.read_parquet(path)
    rows[(rows["timestamp"] < "2025-03-10") | (rows["timestamp"] > "2025-03-14")].to_parquet(path, index=False)
    holed = tmp_path / "holed.yaml"
    holed.write_text(json.dumps(small_experiment(market).model_dump(mode="json")))
    done = crossattn("fetch", "--experiment", str(holed), home=tmp_path / "home")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "INCOMPLETE" in done.stdout
    assert re.search(r"candles/bybit +INCOMPLETE  2,016 expected, \d+ missing, 0 quarantined", done.stdout), done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--symbols", "BTCUSD"], "did you mean BTCUSDT?"),
        (["fetch", "--start", "2020-01-01", "--end", "2020-01-02"], "does not lie within the experiment's complete days"),
        (["report"], "target_weights: HistoryError: the panel holds no day yet; 'crossattn run' makes it"),
        (["train"], "'crossattn run' makes them"),
        (["rollback", "--note", "bad week", "--family", "ridge_var", "--model", "a1"], "a1 is none of its healthy models"),
    ],
)
def test_a_refusal_is_one_message_and_exit_code_one(
    experiment_file: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = crossattn(arguments[0], "--experiment", str(experiment_file), *arguments[1:], home=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_typo_in_the_experiment_names_the_nearest_knob(tmp_path: Path) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text("training: {epoch: 3}\n")
    done = crossattn("run", "--experiment", str(path), home=tmp_path / "home")
    assert done.returncode == 1
    assert "did you mean 'epochs'?" in done.stderr


def test_a_missing_feed_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    path.write_text("feed: {kind: files, folder: nowhere}\nassets: [{venue: bybit, symbol: A}, {venue: bybit, symbol: B}]\n")
    done = crossattn("fetch", "--experiment", str(path), home=tmp_path / "home")
    assert done.returncode == 1
    assert str(tmp_path / "nowhere") in done.stderr


def test_a_home_of_another_feed_is_refused_with_the_difference_and_untouched(experiment_file: Path, tmp_path: Path) -> None:
    stamp = tmp_path / "home.json"
    stamp.write_text(json.dumps({"feed": "api", "universe": ["bybit:linear:BTCUSDT"]}))
    held = stamp.read_bytes()
    done = crossattn("run", "--experiment", str(experiment_file), home=tmp_path)
    assert done.returncode == 1
    assert "feed: here 'api', experiment 'files'" in done.stderr
    assert "CROSSATTN_HOME" in done.stderr
    assert stamp.read_bytes() == held


def test_wrong_usage_ends_with_two(tmp_path: Path) -> None:
    assert crossattn("run", "--epochs", "none", home=tmp_path).returncode == 2


def test_a_process_from_nothing_ends_with_the_same_code_and_one_message(experiment_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crossattn_pipeline.cli", "report", "--experiment", str(experiment_file)]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment_of(tmp_path), capture_output=True, text=True, timeout=300, check=False
    )
    served = crossattn(*command[3:], home=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, served.stdout, served.stderr)


def test_the_sql_commands_run_examples_trace_columns_and_write_a_page(tmp_path: Path) -> None:
    examples = crossattn("sql", "test", home=tmp_path)
    assert examples.returncode == 0, examples.stdout + examples.stderr
    assert "passed  features.bar" in examples.stdout
    traced = crossattn("sql", "lineage", "features.rsi_14", home=tmp_path)
    assert "raw.candles.close" in traced.stdout
    assert crossattn("sql", "lineage", "features.no_such_column", home=tmp_path).returncode == 1


def test_lineage_follows_a_column_of_any_asset_down_to_candles_and_draws_all_on_a_page(tmp_path: Path) -> None:
    page = tmp_path / "lineage.html"
    traced = crossattn("lineage", "marts.positions.target_weight", "--page", str(page), home=tmp_path / "home")
    assert traced.returncode == 0
    assert "predictions.value" in traced.stdout
    assert "candles.close: last price [quote currency]" in traced.stdout
    assert "marts.positions" in page.read_text(encoding="utf-8")
    refused = crossattn("lineage", "forecasts.valeu", home=tmp_path / "home")
    assert (refused.returncode, "did you mean 'forecasts.value'" in refused.stderr) == (1, True)
    written = crossattn("sql", "docs", str(tmp_path / "sql.html"), home=tmp_path)
    assert written.returncode == 0
    assert "features.panel_rows" in (tmp_path / "sql.html").read_text(encoding="utf-8")


def test_an_override_is_recorded_once_and_kept(experiment_file: Path, tmp_path: Path) -> None:
    done = crossattn("retrain", "--experiment", str(experiment_file), "--note", "new fee schedule", home=tmp_path)
    assert done.returncode == 0, done.stderr
    events = json.loads((tmp_path / "walk_forward" / "events.json").read_text(encoding="utf-8"))
    assert [(event["kind"], event["note"]) for event in events] == [("forced", "new fee schedule")]


def test_leaders_are_shown_as_a_table_for_machines_and_as_pictures(ready_folder: Path, tmp_path: Path) -> None:
    from crossattn_core.report.figures.overview import PICTURES

    home, drawn, experiment_file = ready_folder / "home", tmp_path / "drawn", ready_folder / "small.yaml"
    options = ("leaders", "--experiment", str(experiment_file), "--day", "2025-03-27")
    table = crossattn(*options, home=home)
    assert table.returncode == 0, table.stderr
    assert "Predictive leads as of 2025-03-27: no lead found" in table.stdout  # nothing is planted in the small market
    # A stock has too few hours in common with others in two weeks: the pairs of the three perps are tested.
    assert "No lead found: of 12 ordered pairs" in " ".join(table.stdout.split())
    machine = crossattn(*options, "--json", "--pictures", str(drawn), home=home)
    assert machine.returncode == 0, machine.stderr
    head, *rows = [json.loads(row) for row in machine.stdout.splitlines()]
    assert (head["event"], head["as_of"], head["named"]) == ("leaders", "2025-03-27", 0)
    assert head["why_none"].startswith("No lead found")
    perps = {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    pairs, groups = [row for row in rows if row["leader"] in perps], [row for row in rows if row["leader"] not in perps]
    assert {(row["leader"], row["follower"]) for row in pairs} == {(a, b) for a in perps for b in perps if a != b}
    assert all(row["members"] == [row["leader"]] for row in pairs)
    assert all(len(row["members"]) > 1 and row["follower"] not in row["members"] for row in groups)
    assert len(groups) == 6  # the market and its crypto part, before each of the three
    assert all(row["why"] and row["named"] is False for row in rows)
    assert all(0 <= row["attention_view"] <= 1 for row in pairs)
    assert {path.stem for path in drawn.glob("*.png")} <= set(PICTURES)
    assert {"attention", "predictive_leads", "three_views"} <= {path.stem for path in drawn.glob("*.png")}
    early = crossattn("leaders", "--experiment", str(experiment_file), "--day", "2024-01-01", home=home)
    assert early.returncode == 1
    assert "choose a day in it" in early.stderr


def test_a_run_up_to_an_earlier_day_ends_well_and_says_what_waits(experiment_file: Path, tmp_path: Path) -> None:
    done = crossattn("run", "--experiment", str(experiment_file), "--end", "2025-03-20", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The page is written once 2025-03-28 is there" in done.stdout
    assert sorted(path.stem for path in (tmp_path / "walk_forward" / "plan").glob("*.json"))[-1] == "2025-03-20"
    assert not (tmp_path / "reports").exists()
    again = crossattn("run", "--experiment", str(experiment_file), "--end", "2025-03-20", "--json", home=tmp_path)
    assert json.loads(again.stdout.splitlines()[-1]) == {
        "event": "page_waits",
        "made_up_to": "2025-03-20",
        "until": "2025-03-28",
    }
