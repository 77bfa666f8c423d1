"""A server that speaks Yahoo's chart endpoint over candles it is given, traps included.

Hour bars from the bell on; the closing print (one price, no volume) at the bell; the bar still forming, and the live
trade next to it, as the last rows; half days without their closing bar; weekends as an error; responses that yfinance
would cache although they failed.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import unquote

import numpy as np
import pandas as pd

from crossattn_core.trading_calendar import ALWAYS_OPEN, exchange_timezone, session_bounds
from tests.servers.faults import Answer, FaultyServer

TRANSIENT = ("429", "500", "truncated", "dropped", "cut_short", "wrong_type", "empty_body")
"""Faults that a retry cures."""
_ROUND_THE_CLOCK = (ALWAYS_OPEN, "24/5", "CMES")
_REACH_DAYS = {"1m": 8, "5m": 60, "15m": 60, "30m": 60, "1h": 730}


class YahooServer(FaultyServer):
    """Serves intraday candles by symbol (columns opened_at, closed_at, open .. close, volume) as of ``clock``.

    Whatever their length, they are the response to every intraday interval; daily ones are made of them.
    """

    def __init__(
        self, tables: dict[str, pd.DataFrame], clock: Callable[[], datetime], *, closing_prints: bool = True, **faults
    ) -> None:
        super().__init__(**faults)
        self.tables, self.clock, self.closing_prints = tables, clock, closing_prints
        self.dividends: dict[str, list[tuple[datetime, float]]] = {}
        """Symbol -> (opening bell of the ex-date, amount a share)."""
        self.dividend_currency = ""
        self.calendars: dict[str, str] = {}
        """Symbol -> calendar; New York's where it is not there."""
        self.renamed: dict[str, str] = {}
        """Symbol -> the one that its response names."""
        self.splits: dict[str, list[tuple[datetime, float]]] = {}
        """Symbol -> (opening bell of the day, new shares for an old one)."""

    def charts_asked(self) -> list[str]:
        """Symbols of the chart requests, faults included."""
        return [asked.path.rsplit("/", 1)[1] for asked in self.asked if self.is_faulty_path(asked.path)]

    def is_faulty_path(self, path: str) -> bool:
        return path.startswith("/v8/finance/chart/")

    def date(self) -> str:
        return format_datetime(self.clock().replace(tzinfo=UTC), usegmt=True)

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        if path == "/v1/test/getcrumb":
            return Answer(b"crumb", content_type="text/plain")
        if not self.is_faulty_path(path):
            return Answer(b"", content_type="text/html")
        symbol = unquote(path.rsplit("/", 1)[1])
        if symbol not in self.tables:
            return _refused(404, "Not Found", "No data found, symbol may be delisted")
        reach = _REACH_DAYS.get(query["interval"], 40_000)
        if self.clock() - _moment(int(query["period1"])) > timedelta(days=reach):
            why = (
                f"{query['interval']} data not available for startTime. The requested range must be within the last {reach} days."
            )
            return _refused(422, "Unprocessable Entity", why)
        rows = self._rows(symbol, query)
        return Answer(json.dumps({"chart": {"result": [self._result(symbol, rows, query)], "error": None}}).encode())

    def _rows(self, symbol: str, query: dict[str, str]) -> pd.DataFrame:
        table = self.tables[symbol]
        now = pd.Timestamp(self.clock())
        calendar = self.calendars.get(symbol, "XNYS")
        if query["interval"] == "1d":
            table = _daily(table, calendar)
        rows = table[["opened_at", "closed_at", "open", "high", "low", "close", "volume"]]
        if self.closing_prints and query["interval"] != "1d" and calendar not in _ROUND_THE_CLOCK:
            at_bell = rows[rows["closed_at"].isin(session_bounds(calendar)[1])]
            price = at_bell["close"]
            prints = at_bell.assign(opened_at=at_bell["closed_at"], open=price, high=price, low=price, volume=0.0)
            rows = pd.concat([rows, prints]).sort_values("opened_at", kind="stable")
        first, last = pd.Timestamp(_moment(int(query["period1"]))), pd.Timestamp(_moment(int(query["period2"])))
        rows = rows[(rows["opened_at"] >= first) & (rows["opened_at"] < last) & (rows["opened_at"] <= now)].copy()
        forming = rows["closed_at"] > now
        rows.loc[forming, "close"] = (rows["high"] + rows["low"])[forming] / 2
        rows.loc[forming, "volume"] = np.floor(rows["volume"][forming] / 3)
        if forming.any():
            live = rows[forming].tail(1).assign(opened_at=now.floor("s"), volume=0.0)
            rows = pd.concat([rows, live])
        return rows

    def _result(self, symbol: str, rows: pd.DataFrame, query: dict[str, str]) -> dict:
        quote = {name: rows[name].tolist() for name in ("open", "high", "low", "close", "volume")}
        meta = {
            "symbol": self.renamed.get(symbol, symbol),
            "currency": "USD",
            "instrumentType": "EQUITY",
            "exchangeTimezoneName": exchange_timezone(self.calendars.get(symbol, "XNYS")),
            "priceHint": 2,
            "firstTradeDate": int(self.tables[symbol]["opened_at"].iloc[0].timestamp()),
            "validRanges": ["1d", "5d", "1mo", "2y", "max"],
            "tradingPeriods": self._sessions(query, self.calendars.get(symbol, "XNYS")),
        }
        if rows.empty:
            return {"meta": meta, "indicators": {"quote": [{}]}}
        stamps = (rows["opened_at"].to_numpy().astype("datetime64[s]").astype(np.int64)).tolist()
        indicators: dict = {"quote": [quote]}
        if query["interval"] == "1d":
            indicators["adjclose"] = [{"adjclose": (rows["close"] * 0.5).tolist()}]
        return {"meta": meta, "timestamp": stamps, "indicators": indicators} | self._events(symbol, query)

    def _events(self, symbol: str, query: dict[str, str]) -> dict:
        """Dividends with their ex-date in the range, keyed by the opening bell; the currency only where it is another."""
        paid = {}
        for ex_at, amount in self.dividends.get(symbol, ()):
            stamp = int(ex_at.replace(tzinfo=UTC).timestamp())
            if int(query["period1"]) <= stamp < int(query["period2"]) and ex_at <= self.clock():
                other = {"currency": self.dividend_currency} if self.dividend_currency else {}
                paid[str(stamp)] = {"amount": amount, "date": stamp} | other
        split = {}
        for at, ratio in self.splits.get(symbol, ()):
            stamp = int(at.replace(tzinfo=UTC).timestamp())
            if int(query["period1"]) <= stamp < int(query["period2"]):
                split[str(stamp)] = {"date": stamp, "numerator": ratio, "denominator": 1, "splitRatio": f"{ratio:g}:1"}
        events = ({"dividends": paid} if paid else {}) | ({"splits": split} if split else {})
        return {"events": events} if events and "div" in query.get("events", "") else {}

    def _sessions(self, query: dict[str, str], calendar: str) -> list[list[dict]]:
        bells = session_bounds(calendar)
        if calendar in _ROUND_THE_CLOCK:  # their periods are whole days in the exchange's zone, sessions or not
            days = pd.date_range("2023-01-01", "2027-01-01", tz=exchange_timezone(calendar)).tz_convert("UTC").tz_localize(None)
            bells = days[:-1].to_numpy(), days[1:].to_numpy()
        opens, closes = (side.astype("datetime64[s]").astype(np.int64) for side in bells)
        keep = (opens >= int(query["period1"]) - 86_400) & (opens <= int(query["period2"]) + 86_400)
        return [
            [{"start": first, "end": last, "timezone": "EST", "gmtoffset": -18_000}]
            for first, last in zip(opens[keep].tolist(), closes[keep].tolist(), strict=True)
        ]


def _daily(table: pd.DataFrame, calendar: str) -> pd.DataFrame:
    """One row a session, stamped with its opening bell as Yahoo does; futures with midnight of the session's date."""
    session_of = table["opened_at"].dt.date
    if calendar != ALWAYS_OPEN:
        session_of = np.searchsorted(session_bounds(calendar)[1], table["opened_at"].to_numpy(), side="right")
    by_day = table.groupby(session_of)
    rows = by_day.agg(
        opened_at=("opened_at", "first"),
        closed_at=("closed_at", "last"),
        open=("open", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "last"),
        volume=("volume", "sum"),
    ).reset_index(drop=True)
    if calendar == "CMES":
        local = rows["closed_at"].dt.tz_localize("UTC").dt.tz_convert(exchange_timezone(calendar)).dt.normalize()
        rows["opened_at"] = local.dt.tz_convert("UTC").dt.tz_localize(None)
    return rows


def _refused(status: int, code: str, why: str) -> Answer:
    return Answer(json.dumps({"chart": {"result": None, "error": {"code": code, "description": why}}}).encode(), status)


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC).replace(tzinfo=None)
