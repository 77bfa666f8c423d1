"""One table as candles, asset by asset: which layout it is of, whose candles they are, when they opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from pydantic import ValidationError

from crossattn_core.candles.feeds.feed import PRICE_COLUMNS
from crossattn_core.candles.importing.cells import instants_of, numbers_of
from crossattn_core.candles.importing.layout import FIELDS, LAYOUTS, REQUIRED, Columns, joined_pair, named_fields
from crossattn_core.candles.importing.source_file import SourceFile
from crossattn_core.errors import CandleError
from crossattn_core.universe import VENUES, Asset

__all__ = ["COLUMNS", "AssetRows", "ImportSettings", "rows_by_asset"]

COLUMNS = ("timestamp", *PRICE_COLUMNS, "volume", "turnover")
"""``timestamp`` is when the candle opened, naive UTC datetime64[us]."""


@dataclass(frozen=True)
class ImportSettings:
    """What the user says of the files; what is empty is read from them."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    """Field (``layout.FIELDS``) -> name of its column, '#3' for the third, or a number that holds for every row."""
    venue: str = ""
    category: str = ""
    bar: str = ""
    symbol: str = ""
    zone: str = "UTC"
    """Of times without an offset."""
    time_format: str = ""
    """As strptime has it, for times that can be read in two ways."""
    replace: bool = False
    """Whether candles that the folder holds already with other values are replaced."""


@dataclass(frozen=True)
class AssetRows:
    """The rows of one source and symbol."""

    source: SourceFile
    layout: str
    asset: Asset
    unit: str
    zone: str
    rows: pd.DataFrame
    """``COLUMNS``, in the order of the file."""
    undated: int
    """Rows without a time that can be read, which are not among them."""


def rows_by_asset(source: SourceFile, settings: ImportSettings) -> list[AssetRows]:
    """The candles of one table, asset by asset.

    Raises:
        CandleError: as ``import_files.understand``.
    """
    layout, columns = _columns(source, settings.mapping)
    cells = columns.cells
    if not len(cells):
        raise CandleError(f"{source.path}: holds no candle")
    missing = [name for name in REQUIRED if name not in cells]
    if missing:
        raise CandleError(
            f"{source.path}: has no {', '.join(missing)}; name the column with --map, for instance --map {missing[0]}=NAME, "
            f"or give a number that holds for every row (--map volume=0 where the source counts none); {_listed(source)}"
        )
    instants = instants_of(source.path, cells["time"], settings.zone, settings.time_format)
    numbers = numbers_of({str(name): cells[name] for name in cells if name not in ("time", "symbol")}, source.separator)
    rows = pd.DataFrame({"timestamp": instants.at_T, **numbers})
    rows = rows.assign(turnover=rows.get("turnover", np.nan))[list(COLUMNS)]
    named_T = cells["symbol"].astype(str).str.strip().to_numpy() if "symbol" in cells else np.full(len(rows), "", dtype=object)
    if np.isnat(instants.at_T).all():
        first = cells["time"].iloc[0]
        raise CandleError(f"{source.path}: no row has a time that can be read (the first is {first!r}); see --time-format, --map")
    parts = []
    for name in dict.fromkeys(named_T):
        asset = _asset(source, columns, str(name), settings)
        own_T = (named_T == name) & ~np.isnat(instants.at_T)
        undated = int(((named_T == name) & np.isnat(instants.at_T)).sum())
        parts.append(AssetRows(source, layout, asset, instants.unit, instants.zone, rows[own_T].reset_index(drop=True), undated))
    return parts


def _columns(source: SourceFile, mapping: Mapping[str, str]) -> tuple[str, Columns]:
    unknown = [name for name in mapping if name not in FIELDS]
    if unknown:
        raise CandleError(f"--map names {', '.join(unknown)}; what can be mapped is {', '.join(FIELDS)}")
    recognised = _recognised(source)
    if not mapping:
        if recognised is not None:
            return recognised
        raise CandleError(
            f"{source.path}: of no layout that is known ({', '.join(LAYOUTS.names())}); {_listed(source)}; "
            f"name the columns with --map FIELD=NAME, FIELD being {', '.join(FIELDS)}"
        )
    places = named_fields(source.names, mapping)
    cells = {name: source.cells[place] for name, place in places.items() if place in source.cells}
    for name, given in mapping.items():
        if name not in cells or not _names_a_column(source, given):
            try:
                cells[name] = pd.Series(float(given), index=source.cells.index)
            except ValueError as error:
                raise CandleError(f"{source.path}: --map {name}={given}: no such column; {_listed(source)}") from error
    known = recognised[1] if recognised is not None else Columns(pd.DataFrame())
    return "mapped", Columns(pd.DataFrame(cells), known.symbol, known.venue, known.category)


def _recognised(source: SourceFile) -> tuple[str, Columns] | None:
    for name, layout in sorted(LAYOUTS.items(), key=lambda item: item[1].order):
        columns = layout().read(source)
        if columns is not None:
            return name, columns
    return None


def _names_a_column(source: SourceFile, given: str) -> bool:
    return given.startswith("#") or given.strip().lower() in [name.strip().lower() for name in source.names]


def _listed(source: SourceFile) -> str:
    if source.names:
        return f"its columns are {', '.join(name or '(no name)' for name in source.names)}"
    first = ", ".join(str(cell) for cell in source.cells.iloc[0]) if len(source.cells) else ""
    return f"it names no columns (write #1 for the first); its first row is {first[:120]}"


def _asset(source: SourceFile, columns: Columns, named: str, settings: ImportSettings) -> Asset:
    venue = settings.venue or columns.venue
    if not venue:
        raise CandleError(f"{source.path}: nothing in it names its venue; say which with --venue ({', '.join(VENUES.names())})")
    written = settings.symbol or named or columns.symbol or source.name.split(",")[0].split(" ")[0]
    category = settings.category or columns.category
    if VENUES.get(venue).market == "crypto" and not settings.symbol:
        written, is_perpetual = joined_pair(written)
        category = category or ("linear" if is_perpetual else "")
    if category and not settings.category and category not in VENUES.get(venue).categories:
        raise CandleError(
            f"{source.path}: holds {category} candles, which {venue} has no category for; "
            f"say what they are with --category ({', '.join(VENUES.get(venue).categories)})"
        )
    try:
        return Asset(venue=venue, symbol=written, category=category)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise CandleError(f"{source.path}: {said}; name it with --symbol") from error
