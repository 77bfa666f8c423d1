"""What a layout gives, and the layouts by name: one file each.

@LAYOUTS.register("tradingview")
class TradingView: ...          # order, read(source) -> Columns | None
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import pandas as pd

from crossattn_core.candles.importing.source_file import SourceFile
from crossattn_core.registry import Registry

__all__ = ["FIELDS", "LAYOUTS", "REQUIRED", "Columns", "Layout", "joined_pair", "named_fields"]

REQUIRED = ("time", "open", "high", "low", "close", "volume")
FIELDS = (*REQUIRED, "turnover", "symbol")
"""What a column can be: the candle's opening instant, prices, volume in base units, turnover in quote currency, whose it is."""

_NAMES = {
    "time": ("time", "timestamp", "opened_at", "open_time", "open time", "opentime", "datetime", "date", "unix", "unix timestamp",
             "index", ""),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "last"),
    "volume": ("volume", "v", "vol", "volume_base", "base_volume"),
    "turnover": ("turnover", "quote_volume", "quote volume", "quote_asset_volume", "quote asset volume", "volume_quote"),
    "symbol": ("symbol", "ticker", "instrument", "pair", "tic", "asset_id"),
}  # fmt: skip
"""Field -> the names that its column goes by, best first; compared in lower case."""


@dataclass(frozen=True)
class Columns:
    """The candles of one table, and what the layout knows of whose they are."""

    cells: pd.DataFrame
    """Columns named as ``FIELDS``, as they lie in the file."""
    symbol: str = ""
    venue: str = ""
    category: str = ""


class Layout(Protocol):
    """One way in which people write candles."""

    order: ClassVar[int]
    """Layouts are tried by it, the most particular first."""

    def read(self, source: SourceFile) -> Columns | None:
        """The candles; none where the file is of another layout."""
        ...


LAYOUTS = Registry[type[Layout]]("layout of candle files", "crossattn_core.candles.importing")


def named_fields(names: tuple[str, ...], mapping: Mapping[str, str] | None = None) -> dict[str, int]:
    """Field -> place of its column, by the usual names; ``mapping`` (field -> name, or '#3' for the third) comes first.

    >>> named_fields(("Date", "Open", "High", "Low", "Close", "Volume", "Adj Close"))
    {'time': 0, 'open': 1, 'high': 2, 'low': 3, 'close': 4, 'volume': 5}
    """
    lowered = [name.strip().lower() for name in names]
    found: dict[str, int] = {}
    for field, usual in _NAMES.items():
        place = next((lowered.index(name) for name in usual if name in lowered), None)
        if place is not None:
            found[field] = place
    for field, name in (mapping or {}).items():
        if name.startswith("#") and name[1:].isdigit():
            found[field] = int(name[1:]) - 1
        elif name in names:
            found[field] = names.index(name)
        elif name.strip().lower() in lowered:
            found[field] = lowered.index(name.strip().lower())
    return found


def joined_pair(pair: str) -> tuple[str, bool]:
    """A pair as an exchange's symbol, and whether it names a perpetual.

    >>> joined_pair("BTC_USDT_USDT"), joined_pair("BTC/USDT"), joined_pair("BTC/USDT:USDT"), joined_pair("BTCUSDT.P")
    (('BTCUSDT', True), ('BTCUSDT', False), ('BTCUSDT', True), ('BTCUSDT', True))
    """
    text = pair.upper()
    is_perpetual = text.endswith(".P") or ":" in text or text.count("_") == 2
    parts = re.split(r"[_/:-]", text.removesuffix(".P"))
    return "".join(parts[:2]), is_perpetual
