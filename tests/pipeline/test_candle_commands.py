"""``crossattn candles``: what a user sees of the lake, and the acts that change it."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import CandleError, UniverseError
from crossattn_core.universe import VENUES
from crossattn_pipeline.cli import app
from tests.pipeline.commands import crossattn
from tests.small import FIRST, LAST, small_experiment, write_market

BTC, NVDA = "bybit:linear:BTCUSDT", "yahoo:equity:NVDA"
REVISED = pd.Timestamp("2025-03-10 11:00")  # opens; the candle closes an hour later


class User:
    """Someone at the command line, with a home and a folder of candles."""

    def __init__(self, root: Path) -> None:
        self.market, self.home = root / "market", root / "home"
        write_market(self.market)
        self.file = root / "small.yaml"
        self.file.write_text(json.dumps(small_experiment(self.market).model_dump(mode="json")))

    def runs(self, *arguments: str) -> Result:
        where = ("--experiment", str(self.file), "--home", str(self.home))
        return CliRunner().invoke(app, ["candles", *arguments, *where], env={"COLUMNS": "200"})

    def events(self, *arguments: str) -> list[dict]:
        done = self.runs(*arguments, "--json")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return [row for row in map(json.loads, done.stdout.splitlines()) if row.get("event") != "progress"]

    def rewrite(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        path = self.market / name
        changed = change(pd.read_parquet(path).set_index("timestamp"))
        changed.reset_index().to_parquet(path, index=False)

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake", "files")


@pytest.fixture
def user(tmp_path: Path) -> User:
    user = User(tmp_path)
    assert user.runs("refetch").exit_code == 0
    return user


def revised(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[REVISED, "close"] = table.loc[REVISED, ["open", "close"]].mean()
    return table


def test_status_of_a_new_home_names_the_days_that_were_never_asked_for(tmp_path):
    user = User(tmp_path)
    done = user.runs("status")
    assert done.exit_code == 3
    assert f"{BTC} candles: never fetched {FIRST} .. {LAST}" in done.stdout
    assert f"{NVDA} dividends: never fetched {FIRST} .. {LAST}" in done.stdout


def test_status_of_a_whole_lake_is_complete_and_ends_with_zero(user):
    done = user.runs("status")
    assert done.exit_code == 0, done.stdout
    assert "INCOMPLETE" not in done.stdout.replace("funding", "")
    (row,) = [row for row in user.events("status") if (row["asset_id"], row["kind"]) == (BTC, "candles")]
    assert (row["rows"], row["expected"], row["holes"], row["complete"]) == (24 * 28, 24 * 28, [], True)


def test_a_hole_is_told_with_its_days_and_its_rows_and_ends_with_three(tmp_path):
    user = User(tmp_path)
    user.rewrite("bybit_1h/BTCUSDT.parquet", lambda table: table.drop(table["2025-03-09 20:00":"2025-03-10 21:00"].index))
    assert user.runs("refetch").exit_code == 3
    done = user.runs("status", "--symbols", "BTCUSDT")
    assert done.exit_code == 3
    assert f"{BTC} candles: missing 2025-03-09 .. 2025-03-10: 26 rows" in done.stdout


def test_a_revision_waits_until_it_is_adopted_and_both_values_stay(user):
    before = user.lake.day_hashes("bybit", date(2025, 3, 1), date(2025, 3, 28))
    user.rewrite("bybit_1h/BTCUSDT.parquet", revised)
    (event,) = user.events("refetch", "--start", "2025-03-10", "--end", "2025-03-10")
    assert event["revised"] == 1
    (waiting,) = user.events("revisions", "--beyond")
    assert (waiting["asset_id"], waiting["closed_at"], waiting["field"]) == (BTC, "2025-03-10T12:00:00", "close")
    assert user.lake.day_hashes("bybit", date(2025, 3, 1), date(2025, 3, 28)) == before
    done = user.runs("adopt", "--symbol", "BTCUSDT", "--start", "2025-03-10", "--end", "2025-03-10")
    assert done.exit_code == 0
    assert "1 later values of bybit:linear:BTCUSDT adopted for 2025-03-10 .. 2025-03-10; run 'crossattn run'" in done.stdout
    after = user.lake.day_hashes("bybit", date(2025, 3, 1), date(2025, 3, 28))
    assert [day for day in after if after[day] != before[day]] == [date(2025, 3, 10)]
    assert user.events("revisions", "--beyond") == []
    (kept,) = user.events("revisions")
    assert (kept["first_value"], kept["later_value"]) == (waiting["first_value"], waiting["later_value"])
    assert kept["adopted_at"] is not None


def test_adopting_where_nothing_waits_changes_nothing_and_says_so(user):
    done = user.runs("adopt", "--symbol", "ETHUSDT", "--start", "2025-03-10", "--end", "2025-03-12")
    assert done.exit_code == 0
    assert "no revision of bybit:linear:ETHUSDT waits between 2025-03-10 and 2025-03-12; nothing was changed" in done.stdout


def test_a_split_is_refused_shown_and_taken_in_once_the_history_is_retired(user):
    def split(table: pd.DataFrame) -> pd.DataFrame:
        table[["open", "high", "low", "close"]] /= 10
        table["volume"] *= 10
        return table

    user.rewrite("yahoo_1h/NVDA.parquet", split)
    old = user.lake.read_candles("yahoo", date(2025, 3, 3), date(2025, 3, 3))["close"].to_numpy()
    (event,) = user.events("refetch", "--symbols", "NVDA")
    assert event["quarantined"] == 7 * 20
    assert {row["reason"] for row in user.events("quarantine")} == {"other_scale"}
    assert "times their price" in user.runs("quarantine", "--symbols", "NVDA").stdout
    assert user.events("quarantine", "--symbols", "BTCUSDT") == []
    (retired,) = user.events("retire", "--symbol", "NVDA")
    assert all(Path(aside).is_dir() for aside in retired["kept_in"])
    assert user.runs("status", "--symbols", "NVDA").exit_code == 3
    assert user.runs("refetch", "--symbols", "NVDA").exit_code == 0
    new = user.lake.read_candles("yahoo", date(2025, 3, 3), date(2025, 3, 3))["close"].to_numpy()
    assert new.tolist() == (old / 10).tolist()


def test_a_split_is_taken_in_by_the_act_that_the_refusal_names_and_the_act_is_undone(user):
    def split(table: pd.DataFrame) -> pd.DataFrame:
        table[["open", "high", "low", "close"]] /= 10
        table["volume"] *= 10
        return table

    def closes() -> list[float]:
        return user.lake.read_candles("yahoo", date(2025, 3, 1), date(2025, 3, 28))["close"].to_pylist()

    old = closes()
    user.rewrite("yahoo_1h/NVDA.parquet", split)
    user.events("refetch", "--symbols", "NVDA")
    command = "rescale NVDA --factor 0.1 --before 2025-03-29"
    assert f"'crossattn candles {command}'" in user.events("quarantine", "--symbols", "NVDA")[0]["detail"]
    (event,) = user.events(*command.split())
    assert (event["event"], event["factor"], event["days"]) == ("rescaled", 0.1, 20)
    assert user.runs("refetch", "--symbols", "NVDA").exit_code == 0
    assert closes() == pytest.approx([close / 10 for close in old], rel=1e-12)
    done = user.runs("rescale", "NVDA", "--before", "2025-03-29", "--undo")
    assert "20 days of yahoo:equity:NVDA before 2025-03-29 now read as they did before" in done.stdout
    assert closes() == old


def test_a_value_that_changed_ends_refetch_with_three_until_it_is_adopted(user):
    user.rewrite("bybit_1h/BTCUSDT.parquet", revised)
    done = user.runs("refetch", "--symbols", "BTCUSDT")
    assert done.exit_code == 3
    named = "1 stored values differ from what the source gives now (2025-03-10 .. 2025-03-10)"
    assert f"{BTC} candles: {named}" in " ".join(done.stdout.split())
    user.runs("adopt", "--symbol", "BTCUSDT", "--start", "2025-03-10", "--end", "2025-03-10")
    assert user.runs("refetch", "--symbols", "BTCUSDT").exit_code == 0


def test_a_correction_of_all_prices_is_no_split_and_ends_refetch_with_three(user):
    user.rewrite("bybit_1h/BTCUSDT.parquet", lambda table: table * [1.05, 1.05, 1.05, 1.05, 1.0])
    done = user.runs("refetch", "--symbols", "BTCUSDT")
    assert done.exit_code == 3
    said = " ".join(done.stdout.split())
    assert "672 were refused: stored candles now come with 1.05 times their price: the source has corrected its prices" in said
    assert "(by no split's ratio)" in said


def test_fetch_says_that_a_file_was_corrected(user):
    user.rewrite("bybit_1h/BTCUSDT.parquet", revised)
    done = crossattn("fetch", "--experiment", str(user.file), home=user.home)
    said = " ".join(done.stdout.split())
    assert "1 stored values differ from what the source gives now (2025-03-10 .. 2025-03-10)" in said
    assert "candles adopt --symbol BTCUSDT --start 2025-03-10 --end 2025-03-10" in said


def test_verify_names_a_damaged_file_and_otherwise_writes_the_manifest(user):
    (event,) = user.events("verify")
    manifest = json.loads(Path(event["manifest"]).read_text())
    assert len(manifest["files"]) == 3 * 28 + 20 + len(list((user.lake.folder / "funding").rglob("*.parquet")))
    assert json.loads(manifest["requests"][0]["request"])["folder"] == str(user.market)
    user.lake.folder.joinpath("candles/bybit/linear/BTCUSDT/2025-03-07.parquet").write_bytes(b"PAR1 nonsense")
    done = user.runs("verify")
    assert isinstance(done.exception, CandleError)
    assert "1 files are not what was stored" in str(done.exception)
    assert "2025-03-07.parquet" in str(done.exception)


def test_a_symbol_that_the_experiment_lacks_is_refused_with_the_list(user):
    done = user.runs("retire", "--symbol", "NOPE")
    assert isinstance(done.exception, UniverseError)
    assert "'NOPE' names 0 assets of the experiment; choose from bybit:linear:BTCUSDT" in str(done.exception)


def test_as_a_command_an_error_is_one_line_and_ends_with_one(tmp_path):
    user = User(tmp_path)
    done = crossattn("candles", "retire", "--symbol", "NOPE", "--experiment", str(user.file), home=user.home)
    assert done.returncode == 1
    assert done.stderr.startswith("UniverseError: 'NOPE' names 0 assets")
    assert "Traceback" not in done.stderr


def test_venues_shows_what_each_venue_declares() -> None:
    done = CliRunner().invoke(app, ["candles", "venues", "--json"])
    listed = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert listed["bybit"]["costs"]["fee_bps"] == VENUES.get("bybit").costs.fee_bps
    assert listed["binance"]["classes"] == {"linear": ["candles", "funding"], "spot": ["candles"]}
    assert "kraken" in CliRunner().invoke(app, ["candles", "venues"]).stdout
