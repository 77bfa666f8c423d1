"""CryptoDataDownload: a line of text above the names, newest rows first, one volume in coins and one in quote currency."""

import re

from crossattn_core.candles.importing.layout import LAYOUTS, Columns, joined_pair
from crossattn_core.candles.importing.source_file import SourceFile
from crossattn_core.universe import VENUES

__all__ = ["CryptoDataDownload"]

_FILE = re.compile(r"^([A-Za-z]+)_([A-Z0-9]+)_")
_QUOTES = ("USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "BTC", "ETH", "BNB")


@LAYOUTS.register("cryptodatadownload")
class CryptoDataDownload:
    """unix, date, symbol, open, high, low, close, ``Volume <base>``, ``Volume <quote>``."""

    order = 40

    def read(self, source: SourceFile) -> Columns | None:
        """The candles; the volume is that in coins, the other one the turnover."""
        names = [name.strip().lower() for name in source.names]
        volumes = [place for place, name in enumerate(names) if name.startswith("volume ")]
        if not volumes or not {"symbol", "open", "high", "low", "close"} <= set(names):
            return None
        quoted = [place for place in volumes if names[place].split()[1].upper() in _QUOTES]
        pair = str(source.cells[names.index("symbol")].iloc[0]).upper()
        of_quote = [place for place in quoted if joined_pair(pair)[0].endswith(names[place].split()[1].upper())]
        base = next((place for place in volumes if place not in of_quote), None)
        if base is None:
            return None
        time = next(names.index(name) for name in ("unix", "unix timestamp", "date") if name in names)
        places = {
            "time": time,
            **{name: names.index(name) for name in ("open", "high", "low", "close", "symbol")},
            "volume": base,
        }
        if of_quote:
            places["turnover"] = of_quote[0]
        named = _FILE.match(source.name)
        venue = named[1].lower() if named else ""
        cells = source.cells[list(places.values())].set_axis(list(places), axis=1)
        return Columns(cells, "", venue if venue in VENUES.names() else "", "linear" if joined_pair(pair)[1] else "")
