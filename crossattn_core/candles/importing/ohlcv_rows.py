"""Rows without names: time, open, high, low, close, volume, as ccxt gives them and freqtrade's JSON keeps them."""

import pandas as pd

from crossattn_core.candles.importing.freqtrade import pair_of_file
from crossattn_core.candles.importing.layout import LAYOUTS, REQUIRED, Columns
from crossattn_core.candles.importing.source_file import SourceFile

__all__ = ["OhlcvRows"]


@LAYOUTS.register("ohlcv_rows")
class OhlcvRows:
    """Six columns in the order that every library uses."""

    order = 60

    def read(self, source: SourceFile) -> Columns | None:
        """The candles of a table of six columns without names, the first of which counts from 1970 or is a date."""
        if source.headers or source.cells.shape[1] != len(REQUIRED) or not len(source.cells):
            return None
        counts = pd.to_numeric(source.cells[0], errors="coerce")
        is_date = not counts.notna().any() and str(source.cells[0].iloc[0])[:4].isdigit()
        if not is_date and not counts.median() >= 1e8:
            return None
        symbol, category, venue = pair_of_file(source)
        return Columns(source.cells.set_axis(list(REQUIRED), axis=1), symbol, venue, category)
