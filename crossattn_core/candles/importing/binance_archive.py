"""Binance's public archives: twelve columns, with names since 2022 for futures and without for spot, ms and since 2025 us."""

import re

import pandas as pd

from crossattn_core.candles.importing.layout import LAYOUTS, Columns
from crossattn_core.candles.importing.source_file import SourceFile

__all__ = ["BinanceArchive"]

_PLACES = {"time": 0, "open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "turnover": 7}
_FILE = re.compile(r"^([A-Z0-9]+)-(\d+[smhdwM]o?)-\d{4}-\d\d(-\d\d)?$")


@LAYOUTS.register("binance_archive")
class BinanceArchive:
    """open_time, four prices, volume, close_time, quote volume, trades, the takers' two volumes, nothing."""

    order = 10

    def read(self, source: SourceFile) -> Columns | None:
        """The candles of a table of twelve columns whose seventh is the end of its first."""
        if source.cells.shape[1] != 12 or (source.names and source.names[0].strip().lower() not in ("open_time", "open time")):
            return None
        opened, closed = (pd.to_numeric(source.cells[place], errors="coerce") for place in (0, 6))
        if not (closed > opened).mean() > 0.5:
            return None
        named = _FILE.match(source.name)
        # Only the futures' archives name their columns, only spot's count microseconds.
        category = "linear" if source.names else "spot" if opened.max() > 1e14 else ""
        cells = source.cells[list(_PLACES.values())].set_axis(list(_PLACES), axis=1)
        return Columns(cells, named[1] if named else "", "binance", category)
