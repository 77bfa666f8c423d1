"""A feed whose responses a test writes itself."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import CANDLE_COLUMNS, Feed, empty_rows, known_rows
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset


def plain_candles(asset: Asset, start: datetime, end: datetime, step: timedelta = timedelta(hours=1)) -> pd.DataFrame:
    """A whole, faultless series for every bar that the calendar calls for; another price for another symbol."""
    price = 100.0 + sum(map(ord, asset.symbol)) % 97
    bars = expected_bars(asset.calendar, start, end, step)
    close_T = price * np.exp(0.001 * np.sin(np.arange(len(bars)) / 5))
    open_T = np.concatenate([[price], close_T[:-1]]) if len(bars) else close_T
    rows = pd.DataFrame({"opened_at": bars.opened_T, "closed_at": bars.closed_T, "open": open_T, "close": close_T})
    rows["high"], rows["low"] = np.maximum(open_T, close_T) * 1.001, np.minimum(open_T, close_T) * 0.999
    rows["volume"], rows["turnover"] = 10.0, 10.0 * (open_T + close_T) / 2
    rows["asset_id"], rows["fetched_at"] = asset.asset_id, pd.Timestamp(0).as_unit("us")
    return rows[list(CANDLE_COLUMNS)]


class ScriptedFeed(Feed):
    """Holds tables by asset; every call is noted in ``asked``."""

    kind = "scripted"

    def __init__(
        self,
        tables: dict[str, pd.DataFrame],
        now: datetime,
        *,
        window_days: int = 10,
        gap_attempts: int = 2,
        rechecks_gaps: bool = False,
    ) -> None:
        super().__init__()
        self.tables, self.at = tables, now
        self.asked: list[tuple[str, datetime, datetime]] = []
        self.gap_attempts = gap_attempts
        self.rechecks_gaps = rechecks_gaps
        self._window_days = window_days
        self.failures: list[Exception] = []
        self.paid: dict[str, pd.DataFrame] = {}

    def now(self) -> datetime:
        return self.at.replace(tzinfo=UTC)

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        return self._window_days

    def origin(self, asset: Asset) -> dict[str, object]:
        return {"script": self.kind}

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        self.asked.append((asset.symbol, start, end))
        self.traffic.count_request()
        if self.failures:
            raise self.failures.pop(0)
        return known_rows("candles", self.tables[asset.asset_id], asset, start, end, self.at)

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        self.asked.append((asset.symbol, start, end))
        self.traffic.count_request()
        return empty_rows("funding")

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        self.traffic.count_request()
        return known_rows("dividends", self.paid.get(asset.asset_id, empty_rows("dividends")), asset, start, end, self.at)
