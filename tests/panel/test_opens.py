"""First trades come from the lake, each beside the close that the panel holds."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa

from crossattn_core.candles.lake.store import Lake
from crossattn_core.panel.opens import open_prices
from tests.walk_forward.fakes import synthetic_panel


class _FakeLake(Lake):
    """A lake of one table."""

    def __init__(self, candles: pd.DataFrame) -> None:
        self.candles = candles

    def read_candles(self, venue, first, last) -> pa.Table:
        day = self.candles["closed_at"].dt.date
        inside = self.candles[(day >= first) & (day <= last) & self.candles["asset_id"].str.startswith(f"{venue}:")]
        return pa.Table.from_pandas(inside, preserve_index=False)


def _candles(panel) -> pd.DataFrame:
    row_K, asset_K = np.nonzero(np.isfinite(panel.trade_price_TN))
    close_K = panel.trade_price_TN[row_K, asset_K]
    names = np.array(panel.asset_ids)[asset_K]
    return pd.DataFrame({"asset_id": names, "closed_at": panel.as_of_T[row_K], "open": 0.5 * close_K, "close": close_K})


def test_each_row_has_the_open_of_the_candle_behind_its_trade_price() -> None:
    panel = synthetic_panel(10, 3, closed_share=0.2)
    open_TN = open_prices(_FakeLake(_candles(panel)), panel, 30)
    np.testing.assert_allclose(open_TN, 0.5 * panel.trade_price_TN)


def test_a_row_of_several_candles_has_the_first_open() -> None:
    panel = synthetic_panel(10, 3, closed_share=0.0)
    candles = _candles(panel)
    earlier = candles.assign(closed_at=candles["closed_at"] - pd.Timedelta(minutes=30), open=7.0, close=8.0)
    open_TN = open_prices(_FakeLake(pd.concat([candles, earlier])), panel, 30)
    assert (open_TN == 7.0).all()


def test_candles_other_than_the_panels_and_days_before_the_window_have_none() -> None:
    panel = synthetic_panel(10, 3, closed_share=0.0)
    lake = _FakeLake(_candles(panel))
    changed_TN = panel.trade_price_TN.copy()
    changed_TN[100, 1] *= 1.01
    open_TN = open_prices(lake, dataclasses.replace(panel, trade_price_TN=changed_TN), 30)
    assert np.isnan(open_TN).sum() == 1
    assert np.isnan(open_TN[100, 1])
    recent_TN = open_prices(lake, panel, 3)
    assert np.isnan(recent_TN[: 24 * 5]).all()
    assert np.isfinite(recent_TN[-24 * 3 :]).all()
