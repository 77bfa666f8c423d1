"""A server that speaks Bybit's REST v5 over candles it is given, traps included.

Newest first; start floored to its bar; the newest ``limit`` rows of a wider range, but the oldest ``limit`` where only the
start is given; the candle still forming as the newest row; linear volume in base and turnover in quote, inverse the
reverse; errors as HTTP 200 with a retCode.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.page_windows import INTERVALS, bar_end
from tests.servers.faults import Answer, FaultyServer

TRANSIENT = ("429", "500", "503", "truncated", "dropped", "cut_short", "wrong_type", "empty_body", "10006", "10016", "10002")
"""Faults that a retry cures."""


@dataclass
class Listing:
    """One instrument with its candles (columns opened_at, open .. close, volume in base, turnover in quote)."""

    candles: pd.DataFrame
    funding: pd.DataFrame | None = None
    launched: datetime | None = None
    status: str = "Trading"
    delivered: datetime | None = None
    funding_minutes: int | None = None
    opened_ms: np.ndarray = field(init=False)
    rows: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.opened_ms = _milliseconds(self.candles["opened_at"])
        names = ("open", "high", "low", "close", "volume", "turnover")
        columns = [self.candles[name].tolist() for name in names]
        self.rows = [
            '["' + '","'.join((str(moment), *map(repr, values))) + '"]'
            for moment, *values in zip(self.opened_ms.tolist(), *columns, strict=True)
        ]


class BybitServer(FaultyServer):
    """Serves ``listings`` ((category, symbol) -> Listing) as of ``clock`` (naive UTC)."""

    def __init__(self, listings: dict[tuple[str, str], Listing], clock: Callable[[], datetime], **faults) -> None:
        super().__init__(**faults)
        self.listings, self.clock = listings, clock
        self.page_of_instruments = 1000

    @property
    def now_ms(self) -> int:
        return (self.clock() - datetime(1970, 1, 1)) // timedelta(milliseconds=1)

    def klines_asked(self) -> list[tuple[str, int, int]]:
        """(symbol, start, end) of every kline request, faults included; 0 for an instant that was not given."""
        return [
            (asked.query["symbol"], int(asked.query.get("start", 0)), int(asked.query.get("end", 0)))
            for asked in self.asked
            if asked.path == "/v5/market/kline"
        ]

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        routes = {
            "/v5/market/time": lambda query: self._said({"timeSecond": str(self.now_ms // 1000)}),
            "/v5/market/kline": self._kline,
            "/v5/market/funding/history": self._funding,
            "/v5/market/instruments-info": self._instruments,
        }
        return routes[path](query) if path in routes else Answer(b"not found", 404, "text/plain")

    def refusal(self, fault: str) -> Answer | None:
        said = {
            "10001": "params error: symbol invalid",
            "10002": "invalid request, please check your server timestamp",
            "10006": "Too many visits. Exceeded the API Rate Limit.",
            "10016": "Internal server error.",
            "10024": "Compliance rules triggered",
            "10009": "IP has been banned.",
        }
        return self._said({}, int(fault), said[fault]) if fault in said else None

    def _said(self, result: dict, code: int = 0, message: str = "OK") -> Answer:
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": self.now_ms}
        headers = (("X-Bapi-Limit-Reset-Timestamp", str(self.now_ms + 40)),) if code == 10006 else ()
        return Answer(json.dumps(body).encode(), headers=headers)

    def _kline(self, query: dict[str, str]) -> Answer:
        listing = self.listings.get((query.get("category", "linear"), query.get("symbol", "")))
        interval = query.get("interval", "")
        limit = int(query.get("limit", "200"))
        if listing is None or interval not in INTERVALS or not 1 <= limit <= 1000:
            return self._said({}, 10001, "params error: Symbol Is Invalid" if listing is None else "Invalid interval or limit")
        start = _floored(int(query.get("start", 0)), interval)
        end = min(int(query.get("end", self.now_ms)), self.now_ms)
        first, stop = np.searchsorted(listing.opened_ms, [start, end + 1], side="left")
        if "end" in query or "start" not in query:
            first = max(first, stop - limit)
        else:
            stop = min(stop, first + limit)
        rows = listing.rows[first:stop]
        if rows and bar_end(_moment(int(listing.opened_ms[stop - 1])), interval) > _moment(self.now_ms):
            rows[-1] = _forming(rows[-1])
        body = (
            f'{{"retCode":0,"retMsg":"OK","result":{{"category":"{query.get("category", "linear")}",'
            f'"symbol":"{query["symbol"]}","list":[{",".join(reversed(rows))}]}},"retExtInfo":{{}},"time":{self.now_ms}}}'
        )
        return Answer(body.encode())

    def _funding(self, query: dict[str, str]) -> Answer:
        listing = self.listings.get((query.get("category", "linear"), query.get("symbol", "")))
        if listing is None or ("startTime" in query and "endTime" not in query):
            return self._said({}, 10001, "params error")
        if listing.funding is None:
            return self._said({"category": "linear", "list": []})
        settled = _milliseconds(listing.funding["settled_at"])
        keep = (settled >= int(query.get("startTime", 0))) & (settled <= min(int(query.get("endTime", self.now_ms)), self.now_ms))
        rows = [
            {"symbol": query["symbol"], "fundingRate": repr(rate), "fundingRateTimestamp": str(moment)}
            for moment, rate in zip(settled[keep].tolist(), listing.funding["rate"][keep].tolist(), strict=True)
        ]
        return self._said({"category": "linear", "list": rows[::-1][: int(query.get("limit", "200"))]})

    def _instruments(self, query: dict[str, str]) -> Answer:
        wanted = (query["status"],) if "status" in query else ("Trading", "PreLaunch")
        names = sorted(
            symbol
            for (category, symbol), listing in self.listings.items()
            if category == query["category"] and listing.status in wanted
        )
        first = int(query.get("cursor", "0"))
        page = names[first : first + min(int(query.get("limit", "500")), self.page_of_instruments)]
        rows = []
        for name in page:
            listing = self.listings[query["category"], name]
            launched = listing.launched or listing.candles["opened_at"].iloc[0]
            row = {"symbol": name, "status": listing.status, "launchTime": str(pd.Timestamp(launched).value // 1_000_000)}
            row["deliveryTime"] = str(pd.Timestamp(listing.delivered).value // 1_000_000) if listing.delivered else "0"
            if listing.funding_minutes is not None:
                row["fundingInterval"] = listing.funding_minutes
            rows.append(row if query["category"] != "spot" else {"symbol": name, "status": "Trading"})
        more = first + len(page) < len(names)
        return self._said({"category": query["category"], "list": rows, "nextPageCursor": str(first + len(page)) if more else ""})


def _moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)


def _floored(milliseconds: int, interval: str) -> int:
    """The opening of the bar that holds an instant."""
    at = _moment(milliseconds)
    if interval == "M":
        opened = datetime(at.year, at.month, 1)
    else:
        anchor = datetime(1970, 1, 5) if interval == "W" else datetime(1970, 1, 1)
        opened = anchor + (at - anchor) // INTERVALS[interval] * INTERVALS[interval]
    return (opened - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


def _forming(row: str) -> str:
    """The candle as it stood earlier in its hour: other close, less volume."""
    moment, opened, high, low, _, volume, turnover = json.loads(row)
    middle = (float(high) + float(low)) / 2
    return json.dumps([moment, opened, high, low, repr(middle), repr(float(volume) / 3), repr(float(turnover) / 3)])


def _milliseconds(moments: pd.Series) -> np.ndarray:
    return moments.to_numpy().astype("datetime64[ms]").astype(np.int64)
