"""Windows of frames as users have them: every kind of frame has its right windows, or an error that names the remedy."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from crossattn_core.model import frame_windows

ROWS, LOOKBACK = 12, 4


def returns() -> pd.DataFrame:
    value_TN = np.random.default_rng(0).standard_normal((ROWS, 3)).round(3)
    return pd.DataFrame(value_TN, columns=["BTC", "ETH", "SOL"], index=pd.date_range("2026-01-01", periods=ROWS, freq="h"))


def by_hand(frame: pd.DataFrame) -> torch.Tensor:
    value_TN = [[float("nan") if pd.isna(value) else float(value) for value in row] for row in frame.itertuples(index=False)]
    starts = range(len(frame) - LOOKBACK + 1)
    return torch.tensor([[[[value_TN[s + b][n]] for b in range(LOOKBACK)] for n in range(frame.shape[1])] for s in starts])


@pytest.mark.parametrize(
    "made",
    [
        lambda frame: frame,
        lambda frame: frame.tz_localize("Europe/Vienna"),
        lambda frame: frame.to_period("h"),
        lambda frame: frame.reset_index(drop=True),
        lambda frame: frame[["SOL"]],
        lambda frame: frame[["SOL", "BTC"]],
        lambda frame: frame.iloc[:LOOKBACK],
        lambda frame: frame.assign(BTC=1.0),
        lambda frame: frame.astype(object),
        lambda frame: frame.map(lambda value: Decimal(str(value))),
        lambda frame: (frame * 1000).astype(int),
        lambda frame: frame > 0,
        lambda frame: frame.astype("Float64").mask(frame > 1),
        lambda frame: (frame * 1000).round().astype("Int64").mask(frame > 1),
        lambda frame: frame.mask(frame > 1).astype("double[pyarrow]"),
        lambda frame: frame.mask(frame > 1).astype(object).where(frame <= 1, None),
        lambda frame: frame.assign(SOL=frame["SOL"].where(frame.index >= frame.index[6])),
    ],
    ids=["float", "time zone", "periods", "no times", "one asset", "two assets", "just enough rows", "constant", "object",
         "decimal", "int", "bool", "Float64 with NA", "Int64 with NA", "Arrow with null", "None", "listed late"],
)  # fmt: skip
def test_windows_hold_the_numbers_of_the_frame_and_nan_where_there_is_none(made) -> None:
    frame = made(returns())
    before = frame.copy()
    x_SNLF = frame_windows(frame, LOOKBACK)
    assert x_SNLF.dtype == torch.float32
    torch.testing.assert_close(x_SNLF, by_hand(frame), equal_nan=True, check_dtype=False)
    pd.testing.assert_frame_equal(frame, before)


def test_writing_into_windows_leaves_the_frame_alone() -> None:
    frame = returns()
    frame_windows(frame, LOOKBACK)[0, 0, 0, 0] = 9.0
    pd.testing.assert_frame_equal(frame, returns())


def columns_of(*pairs: tuple, names: tuple = (None, None)) -> pd.DataFrame:
    return pd.DataFrame(np.ones((6, len(pairs))), columns=pd.MultiIndex.from_tuples(pairs, names=names))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda frame: frame["BTC"], "windows of a Series; give a pandas DataFrame"),
        (lambda frame: frame.to_numpy(), "windows of a ndarray"),
        (lambda frame: frame.iloc[:3], r"a window of 4 bars from a frame of 3 rows; take a lookback of 1\.\.3"),
        (lambda frame: frame.iloc[:0], "frame of 0 rows; there is nothing to window"),
        (lambda frame: frame.iloc[::-1], r"not in time order, or repeat \(0 of 12 repeat"),
        (lambda frame: pd.concat([frame, frame]).sort_index(), r"12 of 24 repeat"),
        (lambda frame: frame.set_index(frame.index.where(frame.index != frame.index[3])), "1 have no time"),
        (lambda frame: frame.stack().to_frame("r"), "2 levels .*: a long frame; a row must be a bar: unstack"),
        (lambda frame: frame.melt(ignore_index=False).sort_index(), "if it has a row an asset, pivot"),
        (lambda frame: frame[[]], "the frame has no columns"),
        (lambda frame: pd.concat([frame, frame["ETH"]], axis=1), r"columns repeat: \['ETH'\]"),
        (lambda frame: frame.reset_index(), "column 'index' holds datetime64.*make it the index"),
        (lambda frame: frame + 1j, "column 'BTC' holds complex128"),
        (lambda frame: frame.assign(venue="bybit"), "columns that hold no numbers: could not convert string to float: 'bybit'"),
        (lambda frame: frame.replace(frame.iloc[4, 1], -np.inf), r"'ETH': -inf at 2026-01-01 04:00:00 \(1 such in all\)"),
        (lambda frame: frame.abs() * 1e40, "is infinite in single precision; make it NaN"),
        (lambda _: columns_of(("a", "b", "c"), names=(None,) * 3), "columns have 3 levels"),
        (lambda _: columns_of(("BTC", "r"), ("BTC", "r"), ("ETH", "r")), r"columns repeat: \[\('BTC', 'r'\)\]"),
        # The layout of yfinance: prices would be taken for assets.
        (lambda _: columns_of(("Close", "BTC"), ("Close", "ETH"), names=("Price", "Ticker")), r"swaplevel\(axis=1\) turns them"),
    ],
)  # fmt: skip
def test_frames_that_are_no_table_of_bars_are_refused_with_the_remedy(made, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame_windows(made(returns()), LOOKBACK)


@pytest.mark.parametrize("lookback", [2.0, True, "3", None])
def test_a_lookback_that_is_no_number_of_bars_is_refused(lookback) -> None:
    with pytest.raises(ValueError, match="is no whole number of bars"):
        frame_windows(returns(), lookback)
