"""freqtrade's store: ``BTC_USDT-1h.feather`` (spot), ``BTC_USDT_USDT-1h-futures.feather``, in a folder of the exchange's name."""

import re

from crossattn_core.candles.importing.layout import LAYOUTS, REQUIRED, Columns, joined_pair, named_fields
from crossattn_core.candles.importing.source_file import SourceFile
from crossattn_core.errors import CandleError
from crossattn_core.universe import VENUES

__all__ = ["Freqtrade", "pair_of_file"]

_FILE = re.compile(r"^([A-Z0-9]+_[A-Z0-9]+(?:_[A-Z0-9]+)?)-(\d+[mhdwM])(?:-(\w+))?$")


@LAYOUTS.register("freqtrade")
class Freqtrade:
    """A column ``date`` and the five others, in a file named after its pair."""

    order = 20

    def read(self, source: SourceFile) -> Columns | None:
        """The candles of a file so named; its JSON has rows without names."""
        if not _FILE.match(source.name):
            return None
        if source.headers:
            found = named_fields(source.names)
            if any(field not in found for field in REQUIRED):
                return None
            cells = source.cells[[found[field] for field in REQUIRED]]
        else:
            cells = source.cells
        if cells.shape[1] != len(REQUIRED):
            return None
        symbol, category, venue = pair_of_file(source)
        return Columns(cells.set_axis(list(REQUIRED), axis=1), symbol, venue, category)


def pair_of_file(source: SourceFile) -> tuple[str, str, str]:
    """(symbol, category, venue) as freqtrade names files and folders; '' for what the name does not say.

    Raises:
        CandleError: the file holds mark prices or funding rates, at which nobody trades.
    """
    named = _FILE.match(source.name)
    if not named:
        return "", "", ""
    if named[3] in ("mark", "index", "funding_rate", "premiumIndex"):
        raise CandleError(f"{source.path}: holds {named[3]} candles, at which nobody trades; import the futures file")
    symbol, is_perpetual = joined_pair(named[1])
    folders = [folder.name for folder in source.path.resolve().parents][:2]
    venue = next((name for name in folders if name in VENUES.names()), "")
    return symbol, "linear" if is_perpetual or named[3] == "futures" else "spot", venue
