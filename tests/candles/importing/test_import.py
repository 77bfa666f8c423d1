"""What is understood is shown, what cannot be told is asked for, and what is written is what the files feed reads."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.importing.cells import numbers_of
from crossattn_core.candles.importing.import_files import write_understood
from crossattn_core.candles.ingest.ingest import ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import CandleError
from crossattn_core.experiment import FeedSettings
from crossattn_pipeline.cli import app
from tests.candles.importing.files import NOW, PRICES, aged, assert_same, counts, hours, understood

COINS = hours()


def plain(path: Path, candles: pd.DataFrame = COINS) -> Path:
    candles.to_csv(path, index=False)
    return aged(path)


def test_what_is_imported_reaches_the_lake_with_every_value(tmp_path: Path) -> None:
    (found,) = understood(plain(tmp_path / "BTCUSDT.csv", COINS[::-1]), tmp_path / "into", venue="bybit")
    assert found.target == tmp_path / "into" / "bybit_1h" / "BTCUSDT.parquet"
    assert not found.target.exists()
    write_understood([found])
    lake, feed = Lake(tmp_path / "lake", "files"), FilesFeed(tmp_path / "into", lambda: NOW)
    ingest("candles", feed, lake, [found.asset], date(2025, 3, 1), date(2025, 3, 3), settings=FeedSettings())
    stored = lake.read_candles(None, date(2025, 3, 1), date(2025, 3, 3)).to_pandas().sort_values("closed_at")
    assert_same(stored.rename(columns={"opened_at": "timestamp"}), COINS)


def test_times_of_an_exchange_are_read_in_its_zone(tmp_path: Path) -> None:
    local = COINS["timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.tz_localize(None)
    path = plain(tmp_path / "BTCUSDT.csv", COINS.assign(timestamp=local))
    (found,) = understood(path, tmp_path, venue="bybit", zone="America/New_York")
    assert found.zones == ("America/New_York",)
    assert_same(found.candles, COINS)
    with pytest.raises(CandleError, match="no time zone is called 'New York'"):
        understood(path, tmp_path, venue="bybit", zone="New York")


@pytest.mark.parametrize(
    ("written", "separator", "values"),
    [
        (["1.234,5", "1.234", "0,5"], ";", [1234.5, 1234.0, 0.5]),
        (["1,234.5", "1,234", "0.5"], ";", [1234.5, 1234.0, 0.5]),
        (["1,234", "100.5", "2"], ";", [1234.0, 100.5, 2.0]),
        (["1,234", "2,345", "3,456"], ";", [1.234, 2.345, 3.456]),
        (["1,234", "2,345", "3,456"], ",", [1234.0, 2345.0, 3456.0]),
        (["1.234", "2.345", "3.456"], ";", [1.234, 2.345, 3.456]),
        (["1,5", "2,5", "12.34"], ";", [1.5, 2.5, np.nan]),
        (["1e-7", "-", "2.5E3"], ",", [1e-7, np.nan, 2500.0]),
    ],
)
def test_points_and_commas_are_read_by_the_cells_that_read_one_way_only(written, separator, values) -> None:
    np.testing.assert_array_equal(numbers_of({"close": pd.Series(written)}, separator)["close"], values)


def test_dates_that_read_two_ways_are_asked_for(tmp_path: Path) -> None:
    path = plain(tmp_path / "BTCUSDT.csv", COINS.assign(timestamp=COINS["timestamp"].dt.strftime("%d/%m/%Y %H:%M")))
    with pytest.raises(CandleError, match="day first or month first; say which with --time-format"):
        understood(path, tmp_path, venue="bybit")
    (found,) = understood(path, tmp_path, venue="bybit", time_format="%d/%m/%Y %H:%M")
    assert_same(found.candles, COINS)


def test_a_table_of_unknown_columns_names_them_and_the_way_out(tmp_path: Path) -> None:
    path = plain(tmp_path / "BTCUSDT.csv", COINS.set_axis(["wann", "auf", "hoch", "tief", "zu", "menge"], axis=1))
    with pytest.raises(CandleError, match=r"its columns are wann, auf, hoch, tief, zu, menge; name the columns with --map"):
        understood(path, tmp_path, venue="bybit")
    mapping = {"time": "wann", "open": "#2", "high": "hoch", "low": "tief", "close": "zu", "volume": "menge"}
    (found,) = understood(path, tmp_path, venue="bybit", mapping=mapping)
    assert_same(found.candles, COINS)
    with pytest.raises(CandleError, match="--map close=zuu: no such column; its columns are wann"):
        understood(path, tmp_path, venue="bybit", mapping=mapping | {"close": "zuu"})
    with pytest.raises(CandleError, match="--map names price; what can be mapped is time, open"):
        understood(path, tmp_path, venue="bybit", mapping={"price": "zu"})


def test_a_volume_that_the_source_does_not_count_is_asked_for(tmp_path: Path) -> None:
    path = plain(tmp_path / "BTCUSDT, 60.csv", COINS.drop(columns="volume").rename(columns={"timestamp": "time"}))
    with pytest.raises(CandleError, match="volume"):
        understood(path, tmp_path, venue="bybit", symbol="BTCUSDT")
    (found,) = understood(path, tmp_path, venue="bybit", symbol="BTCUSDT", mapping={"volume": "0"})
    assert_same(found.candles, COINS.assign(volume=0.0))


def test_a_file_without_a_venue_or_symbol_is_asked_for(tmp_path: Path) -> None:
    path = plain(tmp_path / "my candles (1).csv")
    with pytest.raises(CandleError, match=r"nothing in it names its venue; say which with --venue \("):
        understood(path, tmp_path)
    with pytest.raises(CandleError, match=r"is not a symbol.*name it with --symbol"):
        understood(plain(tmp_path / "börse.csv"), tmp_path, venue="yahoo")


def test_a_bar_that_no_grid_has_and_one_that_is_not_the_files_are_refused(tmp_path: Path) -> None:
    path = plain(tmp_path / "BTCUSDT.csv", COINS[::2])
    with pytest.raises(CandleError, match="its rows are mostly 2:00:00 apart; candles of 1m, 3m"):
        understood(path, tmp_path, venue="bybit")
    with pytest.raises(CandleError, match="mostly 1h apart, and --bar says 15m; import them as 1h"):
        understood(plain(tmp_path / "BTCUSDT.csv"), tmp_path, venue="bybit", bar="15m")
    (found,) = understood(plain(tmp_path / "BTCUSDT.csv", COINS[:1]), tmp_path, venue="bybit", bar="1h")
    assert_same(found.candles, COINS[:1])


def test_rows_without_a_time_repeated_rows_and_bad_candles_are_counted(tmp_path: Path) -> None:
    table = COINS.assign(timestamp=counts(COINS).astype(object)).astype({"timestamp": object})
    table.loc[5, "timestamp"] = "n/a"
    table.loc[9, "high"] = table.loc[9, "low"] - 1
    table.loc[11, "close"] = np.nan
    path = plain(tmp_path / "BTCUSDT.csv", pd.concat([table, table[20:25]]))
    (found,) = understood(path, tmp_path, venue="bybit")
    assert found.left_out == {"no time": 1, "repeated": 5}
    assert found.refused == {"ohlc_order": 1, "not_a_number": 1}
    assert (found.read, len(found.candles)) == (77, 71)


def test_files_of_one_asset_become_one_and_later_ones_are_added(tmp_path: Path) -> None:
    into = tmp_path / "into"
    write_understood(understood(plain(tmp_path / "BTCUSDT.csv", COINS[:40]), into, venue="bybit"))
    (found,) = understood(plain(tmp_path / "BTCUSDT.csv", COINS[30:]), into, venue="bybit")
    assert found.held == 40
    assert_same(found.candles, COINS)


def test_other_values_for_a_candle_that_is_there_are_refused_unless_replaced(tmp_path: Path) -> None:
    into = tmp_path / "into"
    write_understood(understood(plain(tmp_path / "BTCUSDT.csv"), into, venue="bybit"))
    later = COINS.assign(volume=np.where(np.arange(len(COINS)) == 7, 1.0, COINS["volume"]))
    path = plain(tmp_path / "BTCUSDT.csv", later)
    with pytest.raises(CandleError, match=r"holds other values for 1 of these candles .* add --replace"):
        understood(path, into, venue="bybit")
    (found,) = understood(path, into, venue="bybit", replace=True)
    assert_same(found.candles, later)


def test_a_candle_without_a_price_is_the_same_when_it_comes_again(tmp_path: Path) -> None:
    into = tmp_path / "into"
    path = plain(tmp_path / "BTCUSDT.csv", COINS.assign(close=COINS["close"].where(np.arange(len(COINS)) != 7)))
    write_understood(understood(path, into, venue="bybit"))
    (again,) = understood(path, into, venue="bybit")
    assert (again.held, len(again.candles)) == (len(COINS), len(COINS))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("page.csv", b"<html>\nnot found\n</html>", "no table of candles"),
        ("torn.zip", b"PK\x03\x04torn", "cannot be unpacked"),
        ("torn.parquet", b"PAR1torn", "cannot be read as parquet"),
        ("book.xlsx", b"PK", "a file ending in '.xlsx' is not read"),
        ("odd.json", b'{"s": "ok"}', "its JSON is no list of candles"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CandleError, match=message) as refused:
        understood(path, tmp_path, venue="bybit")
    assert str(path) in str(refused.value)


def run(*arguments: str, answer: str | None = None):
    return CliRunner().invoke(app, ["candles", "import", *arguments], input=answer, env={"COLUMNS": "250"})


def test_the_command_shows_what_it_understood_and_writes_when_told_to(tmp_path: Path) -> None:
    path, into = str(plain(tmp_path / "BTCUSDT.csv")), tmp_path / "into"
    told = ("--venue", "bybit", "--into", str(into))
    for done in (run(path, *told, "--dry-run"), run(path, *told, answer="n\n")):
        assert done.exit_code == 0, done.output
        assert "bybit:linear:BTCUSDT" in done.output
        assert "nothing was written" in done.output
        assert not into.exists()
    done = run(path, *told, answer="y\n")
    assert "1 files written" in done.output
    assert_same(pd.read_parquet(into / "bybit_1h" / "BTCUSDT.parquet")[["timestamp", *PRICES, "volume"]], COINS)
    assert run(path, *told, "--yes", "--json").exit_code == 0
