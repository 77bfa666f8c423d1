"""Each layout that people have comes in with every value, and is understood for what it is."""

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.candles.importing.files import aged, assert_same, counts, hours, session_hours, understood

COINS, SHARES = hours(), session_hours()


def binance_rows(candles: pd.DataFrame, unit: str = "ms") -> pd.DataFrame:
    opened = counts(candles, unit)
    closed = opened + 3600 * {"ms": 1_000, "us": 1_000_000}[unit] - 1
    quote = (candles["volume"] * candles["close"]).round(4)
    return pd.DataFrame(
        {
            "open_time": opened, **candles[["open", "high", "low", "close", "volume"]], "close_time": closed,
            "quote_volume": quote, "count": 7, "taker_buy_volume": 0.5, "taker_buy_quote_volume": 0.6, "ignore": 0,
        }
    )  # fmt: skip


def test_freqtrade_feather(tmp_path: Path) -> None:
    path = tmp_path / "bybit" / "BTC_USDT_USDT-1h-futures.feather"
    path.parent.mkdir()
    COINS.rename(columns={"timestamp": "date"}).assign(date=COINS["timestamp"].dt.tz_localize("UTC")).to_feather(path)
    (found,) = understood(aged(path), tmp_path / "into")
    assert (found.asset.asset_id, found.bar, found.layouts) == ("bybit:linear:BTCUSDT", "1h", ("freqtrade",))
    assert_same(found.candles, COINS)


def test_freqtrade_json(tmp_path: Path) -> None:
    path = tmp_path / "BTC_USDT-1h.json"
    rows = COINS.assign(timestamp=counts(COINS)).to_numpy().tolist()
    path.write_text(json.dumps([[int(row[0]), *row[1:]] for row in rows]))
    (found,) = understood(aged(path), tmp_path, venue="bybit")
    assert (found.asset.asset_id, found.layouts, found.units) == ("bybit:spot:BTCUSDT", ("freqtrade",), ("ms",))
    assert_same(found.candles, COINS)


def test_freqtrades_mark_prices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "BTC_USDT_USDT-8h-mark.feather"
    COINS.rename(columns={"timestamp": "date"}).to_feather(path)
    with pytest.raises(Exception, match="holds mark candles, at which nobody trades"):
        understood(path, tmp_path, venue="bybit")


@pytest.mark.parametrize("packed", ["csv", "zip"])
@pytest.mark.parametrize("has_names", [False, True])
def test_binance_archive(tmp_path: Path, packed: str, has_names: bool) -> None:
    plain = tmp_path / "BTCUSDT-1h-2025-03.csv"
    binance_rows(COINS).to_csv(plain, index=False, header=has_names)
    path = plain
    if packed == "zip":
        path = plain.with_suffix(".zip")
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(plain, plain.name)
    (found,) = understood(aged(path), tmp_path)
    assert (found.asset.asset_id, found.bar, found.layouts) == ("binance:linear:BTCUSDT", "1h", ("binance_archive",))
    assert_same(found.candles, COINS)
    np.testing.assert_array_equal(found.candles["turnover"], (COINS["volume"] * COINS["close"]).round(4))


def test_binance_archive_whose_unit_changes_within_the_file_and_between_files(tmp_path: Path) -> None:
    february, march = (("ms", COINS[:20]), ("us", COINS[20:50])), (("us", COINS[50:]),)
    for name, halves in {"BTCUSDT-1h-2025-02": february, "BTCUSDT-1h-2025-03": march}.items():
        table = pd.concat([binance_rows(part, unit) for unit, part in halves])
        path = tmp_path / f"{name}.csv"
        table.to_csv(path, index=False, header=False)
        aged(path)
    (found,) = understood(tmp_path, tmp_path / "into")
    assert found.asset.asset_id == "binance:spot:BTCUSDT"
    assert set(found.units) == {"ms, us", "us"}
    assert_same(found.candles, COINS)


def test_binance_archives_of_single_days_take_their_bar_from_each_other(tmp_path: Path) -> None:
    days = hours(rows=72)[::24].assign(timestamp=lambda table: table["timestamp"].dt.floor("D")).reset_index(drop=True)
    for place in range(len(days)):
        path = tmp_path / f"BTCUSDT-1d-2025-03-0{place + 1}.csv"
        binance_rows(days[place : place + 1]).to_csv(path, index=False)
        aged(path)
    (found,) = understood(tmp_path, tmp_path / "into")
    assert found.bar == "1d"
    assert_same(found.candles, days)


def yfinance_frame(tickers: list[str], zone: str = "UTC") -> pd.DataFrame:
    """As yfinance.download gives it: (Price, Ticker) columns, an index of instants."""
    frames = {}
    for ticker in tickers:
        own = session_hours(ticker).set_index("timestamp")
        for name in ("Close", "High", "Low", "Open", "Volume"):
            frames[name, ticker] = own[name.lower()]
    frame = pd.DataFrame(frames).sort_index(axis=1)
    frame.columns = frame.columns.set_names(["Price", "Ticker"])
    frame.index = pd.DatetimeIndex(frame.index).tz_localize("UTC").tz_convert(zone).rename("Datetime")
    return frame


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("order", ["price first", "ticker first"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_yfinance_download(tmp_path: Path, kind: str, order: str, zone: str) -> None:
    frame = yfinance_frame(["AAPL", "MSFT"], zone)
    frame = frame if order == "price first" else frame.swaplevel(axis=1).sort_index(axis=1)
    path = tmp_path / f"bars.{kind}"
    frame.to_csv(path) if kind == "csv" else frame.to_parquet(path)
    found = {one.asset.asset_id: one for one in understood(aged(path), tmp_path)}
    assert set(found) == {"yahoo:equity:AAPL", "yahoo:equity:MSFT"}
    for ticker in ("AAPL", "MSFT"):
        one = found[f"yahoo:equity:{ticker}"]
        assert (one.layouts, one.bar, one.zones, one.refused) == (("yfinance",), "1h", ("as written",), {})
        assert_same(one.candles, session_hours(ticker))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_yfinance_history_of_one_ticker(tmp_path: Path, kind: str) -> None:
    frame = SHARES.set_index(SHARES["timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York").rename("Datetime"))
    frame = frame.drop(columns="timestamp").rename(columns=str.capitalize).assign(Dividends=0.0, **{"Stock Splits": 0.0})
    path = tmp_path / f"AAPL.{kind}"
    frame.to_csv(path) if kind == "csv" else frame.to_parquet(path)
    (found,) = understood(aged(path), tmp_path)
    assert (found.asset.asset_id, found.layouts) == ("yahoo:equity:AAPL", ("yfinance",))
    assert_same(found.candles, SHARES)


@pytest.mark.parametrize("unit", ["s", "ms", "date"])
def test_cryptodatadownload(tmp_path: Path, unit: str) -> None:
    newest_first = COINS[::-1]
    table = pd.DataFrame(
        {"unix": counts(newest_first, "s" if unit == "s" else "ms"), "date": newest_first["timestamp"].astype(str)}
    )
    if unit == "date":
        table = pd.DataFrame({"date": newest_first["timestamp"].dt.strftime("%Y-%m-%d %I-%p")})
    table = table.assign(symbol="BTC/USDT", **newest_first[["open", "high", "low", "close"]])
    table = table.assign(**{"Volume BTC": newest_first["volume"], "Volume USDT": newest_first["volume"] * newest_first["close"]})
    path = tmp_path / "Bybit_BTCUSDT_1h.csv"
    path.write_text("https://www.CryptoDataDownload.com\n" + table.to_csv(index=False))
    (found,) = understood(aged(path), tmp_path, category="spot")
    assert (found.asset.asset_id, found.layouts) == ("bybit:spot:BTCUSDT", ("cryptodatadownload",))
    assert_same(found.candles, COINS)
    np.testing.assert_array_equal(found.candles["turnover"], COINS["volume"] * COINS["close"])


@pytest.mark.parametrize("written", ["s", "text"])
def test_tradingview(tmp_path: Path, written: str) -> None:
    times = counts(COINS, "s") if written == "s" else COINS["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table = COINS.assign(time=times)[["time", "open", "high", "low", "close", "volume"]]
    path = tmp_path / "BYBIT_BTCUSDT.P, 60.csv"
    table.rename(columns={"volume": "Volume"}).assign(**{"Volume MA": 1.0}).to_csv(path, index=False)
    (found,) = understood(aged(path), tmp_path)
    assert (found.asset.asset_id, found.layouts) == ("bybit:linear:BTCUSDT", ("tradingview",))
    assert_same(found.candles, COINS)


def test_tradingviews_candle_that_was_still_forming_is_left_out(tmp_path: Path) -> None:
    table = SHARES.assign(time=counts(SHARES, "s"))[["time", "open", "high", "low", "close", "volume"]]
    path = tmp_path / "NASDAQ_AAPL, 60.csv"
    table.rename(columns={"volume": "Volume"}).to_csv(path, index=False)
    aged(path, str(SHARES["timestamp"].iloc[-1] + pd.Timedelta(minutes=10)))
    (found,) = understood(path, tmp_path)
    assert (found.asset.asset_id, found.left_out) == ("yahoo:equity:AAPL", {"still forming": 1})
    assert_same(found.candles, SHARES[:-1])


@pytest.mark.parametrize("column", ["symbol", "tic"])
def test_a_long_file_is_split_by_its_column_of_symbols(tmp_path: Path, column: str) -> None:
    both = pd.concat([COINS.assign(**{column: "BTC/USDT:USDT"}), hours("ETHUSDT").assign(**{column: "ETH/USDT:USDT"})])
    path = tmp_path / "all.csv"
    both.sort_values(["timestamp", column]).to_csv(path, index=False)
    found = {one.asset.symbol: one for one in understood(aged(path), tmp_path, venue="bybit")}
    assert found["BTCUSDT"].asset.category == "linear"
    assert_same(found["BTCUSDT"].candles, COINS)
    assert_same(found["ETHUSDT"].candles, hours("ETHUSDT"))


def test_a_packed_csv(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT.csv.gz"
    path.write_bytes(gzip.compress(COINS.to_csv(index=False).encode()))
    (found,) = understood(aged(path), tmp_path, venue="bybit")
    assert found.asset.asset_id == "bybit:linear:BTCUSDT"
    assert_same(found.candles, COINS)


@pytest.mark.parametrize("thousands", [False, True])
def test_semicolons_decimal_commas_and_dates_with_points(tmp_path: Path, thousands: bool) -> None:
    def german(value: float) -> str:
        text = f"{value:,}" if thousands else str(value)
        return text.replace(",", " ").replace(".", ",").replace(" ", ".")

    table = pd.DataFrame({"Datum": COINS["timestamp"].dt.strftime("%d.%m.%Y %H:%M")})
    for name, here in {"open": "Eröffnung", "high": "Hoch", "low": "Tief", "close": "Schluss", "volume": "Volumen"}.items():
        table[here] = COINS[name].map(german)
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(table.to_csv(index=False, sep=";"), encoding="latin-1")
    mapping = {"time": "Datum", "open": "Eröffnung", "high": "Hoch", "low": "Tief", "close": "Schluss", "volume": "Volumen"}
    (found,) = understood(aged(path), tmp_path, venue="bybit", mapping=mapping)
    assert found.layouts == ("mapped",)
    assert_same(found.candles, COINS)


@pytest.mark.parametrize("index", ["reversed", "filtered", "named time", "nameless time"])
def test_parquet_as_pandas_wrote_it(tmp_path: Path, index: str) -> None:
    path, table = tmp_path / "BTCUSDT.parquet", COINS
    if index == "reversed":
        table = COINS[::-1]
    elif index == "filtered":
        table = pd.concat([COINS.assign(volume=-1.0).head(3), COINS]).query("volume >= 0")
    else:
        table = COINS.set_index("timestamp").rename_axis("Date" if index == "named time" else None)
    table.to_parquet(path)
    (found,) = understood(aged(path), tmp_path, venue="bybit")
    assert_same(found.candles, COINS)
