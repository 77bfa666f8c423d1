"""Files as people have them: every price is stored at its own instant, or its row is refused and counted."""

import os
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossattn_core.candles.feeds.files import FilesFeed
from crossattn_core.candles.ingest.ingest import IngestedDay, ingest
from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import PermanentFeedError
from crossattn_core.experiment import FeedSettings
from crossattn_core.grid import BarName, Grid
from crossattn_core.universe import Asset
from tests.candles.scripted import plain_candles

BTC = Asset(venue="bybit", symbol="BTCUSDT")
AAPL = Asset(venue="yahoo", symbol="AAPL")
FIRST, LAST = date(2025, 3, 1), date(2025, 3, 31)
PRICES = ["open", "high", "low", "close"]
VALUES = [*PRICES, "volume"]


def march(asset: Asset = BTC, step: timedelta = timedelta(hours=1)) -> pd.DataFrame:
    """A month of candles as a file has them, no two closes alike."""
    rows = plain_candles(asset, datetime(2025, 3, 1), datetime(2025, 4, 1), step)
    trend = np.exp(np.arange(len(rows)) * 1e-5)
    for name in PRICES:
        rows[name] *= trend
    return rows.rename(columns={"opened_at": "timestamp"})[["timestamp", *VALUES]]


def path_of(root, asset: Asset = BTC, bar: str = "1h", suffix: str = "parquet"):
    path = root / f"{asset.venue}_{bar}/{asset.symbol}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def taken_in(root, asset: Asset = BTC, bar: BarName = "1h", **knobs) -> tuple[Lake, list[IngestedDay]]:
    grid = Grid(bar=bar)
    feed = FilesFeed(root, lambda: datetime(2025, 6, 1, tzinfo=UTC), grid)
    lake = Lake(root / "lake", "files", grid)
    return lake, ingest("candles", feed, lake, (asset,), FIRST, LAST, settings=FeedSettings(**knobs))


def assert_as_in(lake: Lake, given: pd.DataFrame) -> None:
    stored = lake.read_candles(None, FIRST, LAST).to_pandas()
    assert stored["opened_at"].to_numpy().tolist() == given["timestamp"].to_numpy().astype("datetime64[us]").tolist()
    assert np.array_equal(stored[VALUES].to_numpy(), given[VALUES].to_numpy())


def reasons(lake: Lake) -> dict[str, int]:
    return lake.read_quarantine(FIRST, LAST).to_pandas()["reason"].value_counts().to_dict()


@pytest.mark.parametrize(
    "arranged",
    [
        lambda rows: rows[::-1],
        lambda rows: rows.sort_values("close"),
        lambda rows: rows.sample(frac=1, random_state=1),
        lambda rows: rows.set_axis(np.zeros(len(rows), dtype=int)),
        lambda rows: rows.set_axis(np.arange(len(rows))[::-1]),
        lambda rows: rows.set_index("timestamp"),
        lambda rows: rows.set_index("timestamp").rename_axis(None),
        lambda rows: rows.set_index("timestamp").rename_axis("date")[::-1],
        lambda rows: rows.set_index(pd.Index(["BTCUSDT"] * len(rows), name="symbol")).set_index("timestamp", append=True),
        lambda rows: rows.set_index("timestamp", drop=False).rename_axis("opened_at"),
    ],
)
def test_parquet_rows_go_by_their_place_and_a_time_index_is_the_time(tmp_path, arranged):
    arranged(march()).to_parquet(path_of(tmp_path))
    lake, days = taken_in(tmp_path)
    assert_as_in(lake, march())
    assert all(day.complete and day.gaps == 0 and day.quarantined == 0 for day in days)


def test_rows_that_a_filter_left_out_are_missing_and_shift_nothing(tmp_path):
    kept = march()[lambda rows: rows["timestamp"].dt.hour != 5]
    kept.to_parquet(path_of(tmp_path))
    lake, days = taken_in(tmp_path)
    assert_as_in(lake, kept)
    assert [day.gaps for day in days] == [1] * 31


def test_an_index_that_disagrees_with_the_time_column_is_refused(tmp_path):
    rows = march()
    rows.set_axis(rows["timestamp"] + pd.Timedelta(hours=1)).rename_axis(None).to_parquet(path_of(tmp_path))
    with pytest.raises(PermanentFeedError, match="time index and its column timestamp name different instants"):
        taken_in(tmp_path)


@pytest.mark.parametrize("bar", ["15m", "30m"])
@pytest.mark.parametrize("asset", [BTC, AAPL], ids=lambda asset: asset.venue)
def test_a_file_of_shorter_candles_is_refused_with_the_knob_that_puts_them_together(tmp_path, bar, asset):
    march(asset, Grid(bar=bar).step).to_parquet(path_of(tmp_path, asset))
    with pytest.raises(
        PermanentFeedError, match=rf"apart, where candles of 1h are read; move it to .*_{bar}/ and set feed\.interval: {bar}"
    ):
        taken_in(tmp_path, asset)


@pytest.mark.parametrize(("bar", "asset"), [("4h", BTC), ("1d", BTC), ("4h", AAPL), ("1d", AAPL)])
def test_a_file_of_longer_candles_is_refused_with_the_grid_that_they_make(tmp_path, bar, asset):
    march(asset, Grid(bar=bar).step).to_parquet(path_of(tmp_path, asset))
    with pytest.raises(PermanentFeedError, match=rf"shorter candles cannot be made of them: .* set grid\.bar: {bar}"):
        taken_in(tmp_path, asset)


def test_a_stretch_of_shorter_or_longer_candles_is_refused_and_the_rest_is_stored(tmp_path):
    hours = march()
    shorter = march(step=timedelta(minutes=15)).query("'2025-03-10' <= timestamp < '2025-03-11'")
    longer = march(step=timedelta(hours=4)).query("'2025-03-20' <= timestamp < '2025-03-23'")
    hours = hours.query("not ('2025-03-10' <= timestamp < '2025-03-11') and not ('2025-03-20' <= timestamp < '2025-03-23')")
    pd.concat([hours, shorter, longer]).to_parquet(path_of(tmp_path))
    lake, days = taken_in(tmp_path)
    stored = lake.read_candles(None, FIRST, LAST).to_pandas()
    wrong = stored["opened_at"].dt.day.isin([10, 20, 21, 22])
    right = march().set_index("timestamp")
    assert wrong.sum() == 0
    assert np.array_equal(stored["close"].to_numpy(), right.loc[stored["opened_at"], "close"].to_numpy())
    assert reasons(lake) == {"off_grid": 72, "other_length": 24 + 18}
    assert sum(day.gaps for day in days) == 24 + 72


def test_counts_whose_unit_changes_in_mid_file_are_read_row_by_row(tmp_path):
    rows = march()
    milliseconds = rows["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    counts = np.where(np.arange(len(rows)) < 400, milliseconds, milliseconds * 1000)
    rows.assign(timestamp=counts).to_parquet(path_of(tmp_path))
    lake, _ = taken_in(tmp_path)
    assert_as_in(lake, march())


def test_rows_without_a_usable_time_are_refused_and_counted(tmp_path):
    rows = march()
    rows.loc[100:104, "timestamp"] = pd.NaT
    rows.loc[200:206, "timestamp"] = pd.Timestamp("1970-01-21 02:48:20")
    rows.to_parquet(path_of(tmp_path))
    lake, days = taken_in(tmp_path)
    assert reasons(lake) == {"no_instant": 12}
    assert sum(day.gaps for day in days) == sum(day.quarantined for day in days) == 12
    assert_as_in(lake, march().drop(index=[*range(100, 105), *range(200, 207)]))


def test_a_file_with_no_instant_of_the_venues_time_is_refused(tmp_path):
    rows = march()
    rows.assign(timestamp=rows["timestamp"] - pd.Timedelta(days=20_000)).to_parquet(path_of(tmp_path))
    with pytest.raises(PermanentFeedError, match="no row has an instant since 2018-01-01, when bybit began"):
        taken_in(tmp_path)


def test_days_and_months_whose_order_is_a_guess_are_refused(tmp_path):
    rows = march()
    rows.assign(timestamp=rows["timestamp"].dt.strftime("%d/%m/%Y %H:%M")).to_csv(path_of(tmp_path, suffix="csv"), index=False)
    with pytest.raises(PermanentFeedError, match=r"holds no instants .*use ISO 8601"):
        taken_in(tmp_path)


def test_of_a_long_file_the_rows_of_the_symbol_are_read(tmp_path):
    own, other = march().assign(symbol="BTC/USDT"), march().assign(symbol="ETH/USDT")
    other[PRICES] *= 0.05
    pd.concat([own, other]).sort_values("timestamp", kind="stable").to_parquet(path_of(tmp_path))
    lake, days = taken_in(tmp_path)
    assert_as_in(lake, march())
    assert sum(day.quarantined for day in days) == 0


def test_a_file_of_another_symbol_is_refused_by_name(tmp_path):
    march().assign(symbol="ETHUSDT").to_parquet(path_of(tmp_path))
    with pytest.raises(PermanentFeedError, match="column symbol names ETHUSDT and never BTCUSDT"):
        taken_in(tmp_path)


def test_a_candle_that_was_forming_when_the_file_was_written_waits_for_the_next_file(tmp_path):
    path, rows = path_of(tmp_path), march().iloc[:500]
    forming = rows.copy()
    forming.loc[499, ["close", "volume"]] = rows.loc[499, "open"], 1.0
    forming.to_parquet(path)
    written = rows["timestamp"].iloc[-1] + pd.Timedelta(minutes=20)
    os.utime(path, (written.timestamp(), written.timestamp()))
    lake, _ = taken_in(tmp_path)
    assert_as_in(lake, rows.iloc[:499])
    rows.to_parquet(path)
    lake, _ = taken_in(tmp_path)
    assert_as_in(lake, rows)
    assert lake.read_revisions(FIRST, LAST).num_rows == 0


def test_a_corrected_file_is_noticed_and_both_values_are_kept(tmp_path):
    path, rows = path_of(tmp_path), march()
    rows.to_parquet(path)
    taken_in(tmp_path)
    corrected = rows.copy()
    corrected.loc[100, "close"] = rows.loc[100, ["open", "close"]].mean()
    corrected.to_parquet(path)
    lake, days = taken_in(tmp_path)
    assert_as_in(lake, rows)
    assert [day.day for day in days if day.revisions] == [date(2025, 3, 5)]
    (found,) = lake.read_revisions(FIRST, LAST).to_pylist()
    assert (found["field"], found["later_value"]) == ("close", corrected.loc[100, "close"])
    before = os.listdir(lake.folder)
    _, days = taken_in(tmp_path)
    assert sum(day.requests for day in days) == 0
    assert os.listdir(lake.folder) == before


def test_a_correction_of_every_price_is_not_called_a_split(tmp_path):
    path, rows = path_of(tmp_path, AAPL), march(AAPL)
    rows.to_parquet(path)
    taken_in(tmp_path, AAPL)
    rows.assign(**{name: rows[name] * 1.05 for name in PRICES}).to_parquet(path)
    lake, days = taken_in(tmp_path, AAPL)
    assert_as_in(lake, rows)
    assert sum(day.quarantined for day in days) == len(rows)
    (detail,) = set(lake.read_quarantine(FIRST, LAST)["detail"].to_pylist())
    assert "1.05 times their price: the source has corrected its prices (by no split's ratio) since" in detail


def test_a_file_that_lacks_its_first_days_is_incomplete_until_they_are_declared(tmp_path):
    march().query("timestamp >= '2025-03-16'").to_parquet(path_of(tmp_path))
    _, days = taken_in(tmp_path)
    assert sum(day.gaps for day in days) == 15 * 24
    (tmp_path / "again").mkdir()
    march().query("'2025-03-16' <= timestamp < '2025-03-26'").to_parquet(path_of(tmp_path / "again"))
    _, days = taken_in(tmp_path / "again", first_days={"BTCUSDT": "2025-03-16"}, last_days={"BTCUSDT": "2025-03-25"})
    assert [(day.rows, day.expected_rows, day.gaps) for day in days] == [(0, 0, 0)] * 15 + [(24, 24, 0)] * 10 + [(0, 0, 0)] * 6


STAMPS = {
    "naive": lambda stamps: stamps,
    "UTC": lambda stamps: stamps.dt.tz_localize("UTC"),
    "New York": lambda stamps: stamps.dt.tz_localize("UTC").dt.tz_convert("America/New_York"),
    "text": lambda stamps: stamps.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "text with zone": lambda stamps: stamps.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo").astype(str),
    **{
        f"count of {unit}": lambda stamps, unit=unit: pd.Series(stamps.to_numpy().astype(f"datetime64[{unit}]").astype(np.int64))
        for unit in ("s", "ms", "us", "ns")
    },
    "float": lambda stamps: pd.Series(stamps.to_numpy().astype("datetime64[s]").astype(float)),
    "text count": lambda stamps: pd.Series(stamps.to_numpy().astype("datetime64[ms]").astype(np.int64).astype(str)),
    "ns": lambda stamps: stamps.astype("datetime64[ns]"),
    "object": lambda stamps: stamps.astype(object),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_file_looks_like_each_stored_price_is_the_sources_own_at_its_instant(tmp_path_factory, data):
    root, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(data.draw(st.integers(0, 2**31)))
    asset = data.draw(st.sampled_from([BTC, AAPL]))
    rows = march(asset)
    kept = rows.drop(index=rng.choice(len(rows), data.draw(st.integers(0, 60)), replace=False))
    twice = kept.iloc[rng.choice(len(kept), data.draw(st.integers(0, 5)), replace=False)]
    frame = pd.concat([kept, twice])
    order = data.draw(st.sampled_from(["as it is", "reversed", "shuffled"]))
    place = {"as it is": np.arange(len(frame)), "reversed": np.arange(len(frame))[::-1], "shuffled": rng.permutation(len(frame))}[
        order
    ]
    frame = frame.iloc[place]
    without_time = rng.choice(len(frame), data.draw(st.integers(0, 4)), replace=False)
    stamps = STAMPS[data.draw(st.sampled_from(sorted(STAMPS)))](frame["timestamp"].reset_index(drop=True))
    stamps.index = frame.index
    if len(without_time):
        has_time = ~np.isin(np.arange(len(frame)), without_time)
        stamps = stamps.astype("Int64" if pd.api.types.is_integer_dtype(stamps) else stamps.dtype).where(has_time)
    frame = frame.assign(timestamp=stamps)
    dtype = data.draw(st.sampled_from(["float64", "Float64", "str"]))
    frame = frame.astype(dict.fromkeys(VALUES, dtype))
    suffix = data.draw(st.sampled_from(["parquet", "csv"]))
    if suffix == "csv":
        frame.to_csv(path_of(root, asset, suffix="csv"), index=data.draw(st.booleans()))
    elif data.draw(st.booleans()) and not len(without_time):
        frame.set_index("timestamp").to_parquet(path_of(root, asset))
    else:
        frame.to_parquet(path_of(root, asset), index=data.draw(st.sampled_from([None, True, False])))
    lake, days = taken_in(root, asset)
    stored = lake.read_candles(None, FIRST, LAST).to_pandas()
    right = rows.set_index("timestamp")
    assert np.array_equal(stored[VALUES].to_numpy(), right.loc[stored["opened_at"], VALUES].to_numpy())
    refused = lake.read_quarantine(FIRST, LAST).num_rows
    assert len(stored) <= len(kept)
    assert len(kept) - len(stored) <= len(without_time)
    assert sum(day.gaps for day in days) == len(rows) - len(stored)
    assert sum(day.quarantined for day in days) == len(frame) - len(stored)
    assert refused <= len(frame) - len(stored)
