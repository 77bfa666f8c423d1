"""What ``yfinance`` gives when it is written to CSV or Parquet: ``download`` (columns of two levels), ``Ticker.history`` (one).

A CSV of ``download`` has three rows of header: prices, tickers (or the other way round) and the name of the index.
"""

import pandas as pd

from crossattn_core.candles.importing.layout import LAYOUTS, REQUIRED, Columns, named_fields
from crossattn_core.candles.importing.source_file import SourceFile

__all__ = ["YfinanceTable"]

_PRICES = {"open", "high", "low", "close", "volume"}


@LAYOUTS.register("yfinance")
class YfinanceTable:
    """Capitals, the time as the index, a ticker in the header; ``Adj Close`` is left aside: the four prices are on one scale."""

    order = 30

    def read(self, source: SourceFile) -> Columns | None:
        """The candles, long, with their ticker as the symbol."""
        levels = [[name.strip() for name in level] for level in source.headers]
        prices = next((level for level in levels if {name.lower() for name in level} >= _PRICES), None)
        if prices is None:
            return None
        if len(levels) == 1:
            is_history = {"Dividends", "Stock Splits"} <= set(prices) or (
                prices[0] in ("Date", "Datetime", "Price") and {"Open", "Close"} <= set(prices)
            )
            found = named_fields(tuple("time" if place == 0 else name for place, name in enumerate(prices)))
            if not is_history or any(field not in found for field in REQUIRED) or "symbol" in found:
                return None
            return Columns(source.cells[[found[field] for field in REQUIRED]].set_axis(list(REQUIRED), axis=1), "", "yahoo")
        tickers = next((level for level in levels if level is not prices), prices)
        times = source.cells[0]
        tables = []
        for ticker in dict.fromkeys(name for name in tickers[1:] if name):
            places = {prices[place].lower(): place for place in range(1, len(prices)) if tickers[place] == ticker}
            if not places.keys() >= _PRICES:
                return None
            own = source.cells[[places[field] for field in REQUIRED[1:]]].set_axis(list(REQUIRED[1:]), axis=1)
            is_there = ~(own.isna() | (own.astype(str) == "")).all(axis=1)  # of several tickers, one may have been shut
            tables.append(own.assign(time=times, symbol=ticker)[is_there])
        return Columns(pd.concat(tables, ignore_index=True), "", "yahoo") if tables else None
