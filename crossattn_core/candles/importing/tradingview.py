"""TradingView's chart export: ``BINANCE_BTCUSDT.P, 60.csv`` with time, the prices, Volume and the chart's studies."""

import re

from crossattn_core.candles.importing.layout import LAYOUTS, REQUIRED, Columns, joined_pair
from crossattn_core.candles.importing.source_file import SourceFile
from crossattn_core.universe import VENUES

__all__ = ["TradingView"]

_FILE = re.compile(r"^([A-Z]+)_([A-Z0-9.^!&-]+), ?(\d*[SDWM]?)")
_STOCKS = ("NASDAQ", "NYSE", "AMEX", "BATS", "ARCA", "CBOE")


@LAYOUTS.register("tradingview")
class TradingView:
    """``time`` and the prices in lower case, first; what follows the volume is drawn on the chart and left out."""

    order = 15

    def read(self, source: SourceFile) -> Columns | None:
        """The candles; of a file named as TradingView names it, or with its columns."""
        names, named = tuple(name.strip() for name in source.names), _FILE.match(source.name)
        if names[:5] != REQUIRED[:5] or (named is None and "Volume" not in names):
            return None
        volume = next((place for place, name in enumerate(names) if name.lower() == "volume"), None)
        places = dict(zip(REQUIRED, (0, 1, 2, 3, 4, volume), strict=True))
        kept = {field: place for field, place in places.items() if place is not None}
        cells = source.cells[list(kept.values())].set_axis(list(kept), axis=1)
        if named is None:
            return Columns(cells)
        exchange = named[1].lower()
        venue = "yahoo" if named[1] in _STOCKS else exchange if exchange in VENUES.names() else ""
        if venue == "yahoo":
            return Columns(cells, named[2], venue)
        symbol, is_perpetual = joined_pair(named[2])
        return Columns(cells, symbol, venue, "linear" if is_perpetual else "spot")
