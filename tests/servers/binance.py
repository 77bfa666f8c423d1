"""A server that speaks Binance's REST, spot and USDT futures, over candles it is given.

Rows are lists of twelve, oldest first; of a range wider than ``limit`` the oldest rows; the candle still forming as the newest.
Errors are HTTP 400 with a code, 429 with Retry-After and 418 for an address that is banned.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from tests.servers.faults import Answer, FaultyServer

_STEP_MS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000}


@dataclass
class Market:
    """One market's candles (opened_at, open .. close, volume) and settlements (settled_at, rate)."""

    candles: pd.DataFrame
    funding: pd.DataFrame | None = None


class BinanceServer(FaultyServer):
    """Serves ``markets`` (('spot' or 'linear', symbol) -> Market) as of ``clock`` (naive UTC)."""

    def __init__(self, markets: dict[tuple[str, str], Market], clock: Callable[[], datetime], **faults) -> None:
        super().__init__(**faults)
        self.markets, self.clock = markets, clock

    @property
    def now_ms(self) -> int:
        return (self.clock() - datetime(1970, 1, 1)) // timedelta(milliseconds=1)

    def is_faulty_path(self, path: str) -> bool:
        return path.endswith(("klines", "fundingRate"))

    def refusal(self, fault: str) -> Answer | None:
        if fault == "418":
            return _said({"code": -1003, "msg": "Way too much request weight used; IP banned until later."}, 418)
        if fault == "451":
            return _said({"code": 0, "msg": "Service unavailable from a restricted location."}, 451)
        return None

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        category = "linear" if path.startswith("/fapi/") else "spot"
        endpoint = path.rsplit("/", 1)[1]
        if endpoint == "time":
            return _said({"serverTime": self.now_ms})
        if endpoint == "exchangeInfo":
            return _said({"timezone": "UTC", "serverTime": self.now_ms, "symbols": self._symbols(category)})
        market = self.markets.get((category, query.get("symbol", "")))
        if market is None:
            return _said({"code": -1121, "msg": "Invalid symbol."}, 400)
        if endpoint == "klines":
            return self._klines(market, query)
        if endpoint == "fundingRate":
            return self._funding(market, query)
        return Answer(b"not found", 404, "text/plain")

    def _klines(self, market: Market, query: dict[str, str]) -> Answer:
        step = _STEP_MS[query["interval"]]
        opened = _milliseconds(market.candles["opened_at"])
        keep = (opened >= int(query.get("startTime", 0))) & (opened <= min(int(query.get("endTime", self.now_ms)), self.now_ms))
        rows = market.candles[keep].head(int(query.get("limit", "500")))
        listed = []
        for moment, row in zip(opened[keep].tolist(), rows.itertuples(), strict=False):
            close = row.close if moment + step <= self.now_ms else (row.high + row.low) / 2
            prices = [repr(float(value)) for value in (row.open, row.high, row.low, close, row.volume)]
            listed.append([moment, *prices, moment + step - 1, "0", 7, "0", "0", "0"])
        return _said(listed)

    def _funding(self, market: Market, query: dict[str, str]) -> Answer:
        if market.funding is None:
            return _said([])
        settled = _milliseconds(market.funding["settled_at"])
        keep = (settled >= int(query.get("startTime", 0))) & (settled <= min(int(query.get("endTime", self.now_ms)), self.now_ms))
        rows = [
            {"symbol": query["symbol"], "fundingRate": repr(rate), "fundingTime": moment, "markPrice": "1.0"}
            for moment, rate in zip(settled[keep].tolist(), market.funding["rate"][keep].tolist(), strict=True)
        ]
        return _said(rows[: int(query.get("limit", "100"))])

    def _symbols(self, category: str) -> list[dict]:
        listed = []
        for (of, symbol), market in self.markets.items():
            if of != category:
                continue
            first = int(_milliseconds(market.candles["opened_at"])[0])
            row = {
                "symbol": symbol,
                "pair": symbol,
                "status": "TRADING",
                "baseAsset": symbol[:-4],
                "quoteAsset": "USDT",
                "filters": [],
            }
            perpetual = {
                "contractType": "PERPETUAL",
                "marginAsset": "USDT",
                "onboardDate": first,
                "deliveryDate": 4_133_404_800_000,
            }
            listed.append(row | (perpetual if category == "linear" else {"isSpotTradingAllowed": True, "permissions": ["SPOT"]}))
        return listed


def _said(value: object, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status)


def _milliseconds(moments: pd.Series) -> np.ndarray:
    return moments.to_numpy().astype("datetime64[ms]").astype(np.int64)
