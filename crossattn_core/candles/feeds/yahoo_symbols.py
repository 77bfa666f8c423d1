"""What a Yahoo symbol says of its instrument: class, and the calendar that its candles follow.

``VOD.L`` trades in London, in pence; ``7203.T`` in Tokyo, in yen: the part behind the last point names the exchange, and a symbol
without one is American. ``EURUSD=X`` is a currency pair, ``ES=F`` a future, ``^GSPC`` an index, ``BTC-USD`` a coin.
"""

import re

from crossattn_core.trading_calendar import ALWAYS_OPEN
from crossattn_core.universe import Asset

__all__ = ["CALENDAR_OF_INDEX", "CALENDAR_OF_SUFFIX", "calendar_of", "category_of"]

CALENDAR_OF_SUFFIX = {
    "": "XNYS",
    "L": "XLON", "IL": "XLON", "DE": "XETR", "F": "XFRA", "PA": "XPAR", "AS": "XAMS", "BR": "XBRU", "LS": "XLIS", "MI": "XMIL",
    "MC": "XMAD", "SW": "XSWX", "ST": "XSTO", "CO": "XCSE", "HE": "XHEL", "OL": "XOSL", "IC": "XICE", "VI": "XWBO", "IR": "XDUB",
    "WA": "XWAR", "PR": "XPRA", "BD": "XBUD", "IS": "XIST", "SR": "XSAU", "JO": "XJSE",
    "T": "XTKS", "HK": "XHKG", "SS": "XSHG", "SZ": "XSHG", "TW": "XTAI", "TWO": "XTAI", "KS": "XKRX", "KQ": "XKRX",
    "SI": "XSES", "BK": "XBKK", "JK": "XIDX", "KL": "XKLS", "NS": "XBOM", "BO": "XBOM", "AX": "XASX", "NZ": "XNZE",
    "TO": "XTSE", "V": "XTSE", "SA": "BVMF", "MX": "XMEX", "BA": "XBUE", "SN": "XSGO",
}  # fmt: skip
"""Suffix -> calendar. Bombay's is Mumbai's National Exchange's too, Shanghai's Shenzhen's: the sessions are the same."""

CALENDAR_OF_INDEX = {
    "^FTSE": "XLON", "^FTMC": "XLON", "^GDAXI": "XETR", "^FCHI": "XPAR", "^STOXX50E": "XETR", "^AEX": "XAMS", "^IBEX": "XMAD",
    "^SSMI": "XSWX", "^N225": "XTKS", "^HSI": "XHKG", "^NSEI": "XBOM", "^BSESN": "XBOM", "^AXJO": "XASX", "^KS11": "XKRX",
    "^TWII": "XTAI", "^STI": "XSES", "^GSPTSE": "XTSE", "^BVSP": "BVMF", "^MXX": "XMEX",
}  # fmt: skip
"""Index -> calendar of its exchange; those that are not here are American."""

_COIN = re.compile(r"^[A-Z0-9]+-(USD|USDT|USDC|EUR|GBP|JPY|BTC|ETH)$")


def category_of(symbol: str) -> str:
    """The instrument class.

    >>> [category_of(symbol) for symbol in ("AAPL", "BRK-B", "M&M.NS", "^GSPC", "EURUSD=X", "ES=F", "BTC-USD")]
    ['equity', 'equity', 'equity', 'index', 'currency', 'future', 'crypto']
    """
    if symbol.startswith("^"):
        return "index"
    if symbol.endswith("=X"):
        return "currency"
    if symbol.endswith("=F"):
        return "future"
    return "crypto" if _COIN.match(symbol) else "equity"


def calendar_of(asset: Asset) -> str:
    """The calendar of an asset on Yahoo.

    Raises:
        ValueError: no exchange is known by the symbol's suffix.
    """
    if asset.category in ("crypto", "currency", "future"):
        return {"crypto": ALWAYS_OPEN, "currency": "24/5", "future": "CMES"}[asset.category]
    if asset.category == "index":
        return CALENDAR_OF_INDEX.get(asset.symbol, "XNYS")
    suffix = asset.symbol.rpartition(".")[2] if "." in asset.symbol else ""
    if suffix not in CALENDAR_OF_SUFFIX:
        raise ValueError(
            f"{asset.symbol}: no calendar is known for Yahoo's suffix .{suffix} "
            f"(known: {', '.join(filter(None, CALENDAR_OF_SUFFIX))}); "
            "say on the asset which one it follows, for instance calendar: XNYS"
        )
    return CALENDAR_OF_SUFFIX[suffix]
