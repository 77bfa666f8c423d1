"""``crossattn review``: a day beside the day before, and what speaks against trading on it."""

import json
import shutil
from datetime import date
from pathlib import Path

import pandas as pd

from crossattn_core.home import Home
from crossattn_core.walk_forward.store import predictions_path, read_plan
from tests.pipeline.commands import crossattn


def reviewed(ready_folder: Path, day: str, home: Path | None = None) -> tuple[int, dict]:
    done = crossattn(
        "review", "--experiment", str(ready_folder / "small.yaml"), "--day", day, "--json", home=home or ready_folder / "home"
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[0])


def test_the_newest_day_of_a_whole_home_may_be_traded(ready_folder: Path) -> None:
    code, found = reviewed(ready_folder, "2025-03-28")
    assert (code, found["against"]) == (0, [])
    said = crossattn("review", "--experiment", str(ready_folder / "small.yaml"), home=ready_folder / "home")
    assert "Nothing speaks against trading on the weights of 2025-03-28." in said.stdout


def test_a_day_of_a_retrain_names_the_reason_and_the_models_that_changed(ready_folder: Path) -> None:
    plan = read_plan(Home(ready_folder / "home"))
    trained = plan[(plan["action"] == "retrain") & (plan["reason"] != "first")].iloc[0]
    _, found = reviewed(ready_folder, f"{trained['day']:%Y-%m-%d}")
    assert any(line.startswith(f"{trained['family']}: retrain, {trained['reason']} (") for line in found["decisions"])
    (change,) = [change for change in found["changes"] if change["what"] == f"model of {trained['family']}"]
    before = plan[(plan["day"] == trained["day"] - pd.Timedelta(days=1)) & (plan["family"] == trained["family"])].iloc[0]
    assert (change["before"], change["now"]) == (before["model_id"], trained["model_id"])
    assert change["why"] == f"{trained['reason']}: {trained['why']}"


def test_weights_that_moved_are_those_of_the_hand_over(ready_folder: Path) -> None:
    _, found = reviewed(ready_folder, "2025-03-25")
    handover = pd.read_parquet(ready_folder / "home" / "target_weights" / "target_weights.parquet")
    ordered = handover[(handover["as_of"] > "2025-03-25") & (handover["as_of"] <= "2025-03-26")]
    moved = ordered[(ordered["weight"] - ordered["held_weight"]).abs() >= 5e-4]
    shown = {
        change["what"].removeprefix("weight of "): change["now"] for change in found["changes"] if "weight" in change["what"]
    }
    assert shown == {row.asset_id.split(":")[-1]: f"{row.weight:+.1%}" for row in moved.itertuples()}


def test_a_past_day_a_stale_stage_and_a_hole_speak_against_trading(ready_folder: Path, tmp_path: Path) -> None:
    code, found = reviewed(ready_folder, "2025-03-27")
    assert (code, found["against"]) == (3, ["its decisions are past: the newest complete day is 2025-03-28"])
    home = tmp_path / "home"
    shutil.copytree(ready_folder / "home", home)
    done = crossattn("candles", "retire", "--symbol", "ETHUSDT", "--experiment", str(ready_folder / "small.yaml"), home=home)
    assert done.returncode == 0, done.stderr
    code, found = reviewed(ready_folder, "2025-03-28", home)
    assert code == 3
    assert any("candles/bybit" in reason and "stale" in reason for reason in found["against"])
    assert any(reason.startswith("bybit:linear:ETHUSDT candles: 0 of") for reason in found["against"])


def test_forecasts_that_are_not_as_they_were_written_speak_against_trading(ready_folder: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(ready_folder / "home", home.root)
    stored = predictions_path(home, date(2025, 3, 28))
    stored.write_bytes(stored.read_bytes()[:-40])
    code, found = reviewed(ready_folder, "2025-03-28", home.root)
    assert code == 3
    assert any(reason.startswith(f"{stored}: not what was written") for reason in found["against"])


def test_a_home_without_weights_says_what_to_make(ready_folder: Path, tmp_path: Path) -> None:
    done = crossattn("review", "--experiment", str(ready_folder / "small.yaml"), home=tmp_path / "home")
    assert done.returncode == 1
    assert "no target weights are stored" in done.stderr
