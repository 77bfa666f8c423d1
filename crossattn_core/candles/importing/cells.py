"""Cells as numbers and instants, as people write them: decimal commas, thousands, dates by their look, counts since 1970.

What cannot be read is missing (NaN, NaT) and never guessed. Axis T: rows of the file.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.candles.feeds.candle_file import read_instants
from crossattn_core.errors import CandleError

__all__ = ["Instants", "instants_of", "numbers_of"]

_COMMA_THOUSANDS = r"^[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$"
_POINT_THOUSANDS = r"^[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?$"
_UNITS = ((1e8, 1e11, "s"), (1e11, 1e14, "ms"), (1e14, 1e17, "us"), (1e17, np.inf, "ns"))
_DAY_FIRST = re.compile(r"^\d{1,2}([./-])\d{1,2}\1\d{4}")
_WORDY_HOURS = re.compile(r"^\d{4}-\d\d-\d\d \d\d-[AP]M$")
_OFFSET = r"(?:Z|[+-]\d\d:?\d\d)$"


class Instants:
    """The instants of a column, and how they were written."""

    def __init__(self, at_T: NDArray[np.datetime64], unit: str, zone: str) -> None:
        self.at_T = at_T
        """Naive UTC datetime64[us]; NaT where a cell is no instant."""
        self.unit = unit
        """'ms', 'ms, us' where it changes, 'text' or 'datetime'."""
        self.zone = zone
        """What a cell says of its zone: 'UTC', 'as written' (with offsets), or the one that was given."""


def numbers_of(columns: dict[str, pd.Series], separator: str) -> dict[str, NDArray[np.float64]]:
    """Columns of one file as floats; whether the comma is the decimal point is decided for all of them together."""
    texts = {name: values.astype(str).str.strip() for name, values in columns.items() if _is_text(values)}
    comma_is_decimal = _comma_is_decimal(pd.concat(texts.values()), separator) if texts else False
    group, grouped = (".", _POINT_THOUSANDS) if comma_is_decimal else (",", _COMMA_THOUSANDS)
    result = {}
    for name, values in columns.items():
        if name in texts:
            cells = texts[name]
            has_group = cells.str.contains(group, regex=False)
            if has_group.any():
                # A cell whose groups are not of three digits is written in another way than the rest, and is no number.
                plain = cells.where(cells.str.match(grouped), "").str.replace(group, "", regex=False)
                cells = cells.where(~has_group, plain)
            values = cells.str.replace(",", ".", regex=False) if comma_is_decimal else cells
        result[name] = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return result


def _comma_is_decimal(cells: pd.Series, separator: str) -> bool:
    """By the cells that can be read in one way only; where there are none, by what separates the columns."""
    has_comma = cells.str.contains(",", regex=False)
    if not has_comma.any():
        return False
    has_point = cells.str.contains(".", regex=False)
    of_comma = int((has_comma & ~cells.str.match(_COMMA_THOUSANDS)).sum())
    of_point = int((has_point & ~cells.str.match(_POINT_THOUSANDS)).sum())
    return separator != "," if of_comma == of_point else of_comma > of_point


def instants_of(path: Path, values: pd.Series, zone: str = "UTC", time_format: str = "") -> Instants:
    """A column of times as instants.

    Args:
        zone: of text without an offset.
        time_format: of text that can be read in two ways, as strptime has it.

    Raises:
        CandleError: dates such as 03/04/2025 can be read in two ways, or the zone is unknown.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        aware = values.dt.tz is not None
        moments = values.dt.tz_convert("UTC").dt.tz_localize(None) if aware else _localised(path, values, zone)
        return Instants(moments.to_numpy().astype("datetime64[us]"), "datetime", "as written" if aware else zone)
    if values.dtype == object and not values.map(lambda cell: isinstance(cell, (str, int, float))).all():
        values = values.astype(str)  # date objects, for instance
    counts = pd.to_numeric(values, errors="coerce")
    if counts.notna().sum() * 2 > len(values) and counts.abs().median() >= _UNITS[0][0]:
        exact = counts.astype("int64") if counts.notna().all() and (counts % 1 == 0).all() else counts
        at_T = read_instants(path, pd.DataFrame({"time": exact}), "time")
        size_T = counts.to_numpy(dtype=float)
        units = [name for low, high, name in _UNITS if ((size_T >= low) & (size_T < high)).any()]
        return Instants(at_T, ", ".join(units), "UTC")
    return _of_text(path, values.astype(str).str.strip(), zone, time_format)


def _of_text(path: Path, cells: pd.Series, zone: str, time_format: str) -> Instants:
    known = cells[cells != ""]
    first = known.iloc[0] if len(known) else ""
    if time_format:
        moments = pd.to_datetime(cells, format=time_format, errors="coerce", utc="%z" in time_format)
        has_offset = "%z" in time_format
    elif _WORDY_HOURS.match(first):
        moments, has_offset = pd.to_datetime(cells, format="%Y-%m-%d %I-%p", errors="coerce"), False
    else:
        is_aware = known.str.contains(_OFFSET) & known.str.contains(":")
        has_offset = bool(is_aware.any())
        if has_offset and not is_aware.all():
            raise CandleError(f"{path}: some times name an offset from UTC and some do not ({first!r}); write all in one way")
        is_year_last = bool(_DAY_FIRST.match(first))
        day_first = is_year_last and _is_day_first(path, known)
        form = "mixed" if is_year_last else "ISO8601"
        moments = pd.to_datetime(cells, format=form, dayfirst=day_first, errors="coerce", utc=has_offset)
    if has_offset:
        return Instants(moments.dt.tz_convert(None).to_numpy().astype("datetime64[us]"), "text", "as written")
    return Instants(_localised(path, moments, zone).to_numpy().astype("datetime64[us]"), "text", zone)


def _is_day_first(path: Path, cells: pd.Series) -> bool:
    parts = cells.str.extract(r"^(\d{1,2})([./-])(\d{1,2})")
    if parts[1].iloc[0] == ".":
        return True  # nobody writes the month first with points
    first, second = pd.to_numeric(parts[0]).max(), pd.to_numeric(parts[2]).max()
    if (first > 12) == (second > 12):
        raise CandleError(
            f"{path}: dates such as {cells.iloc[0]!r} can be read day first or month first; "
            "say which with --time-format, for instance '%d/%m/%Y %H:%M'"
        )
    return bool(first > 12)


def _localised(path: Path, moments: pd.Series, zone: str) -> pd.Series:
    if zone == "UTC":
        return moments
    try:
        aware = moments.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    except (KeyError, ValueError, OSError) as error:
        raise CandleError(f"{path}: no time zone is called {zone!r}; use a name such as America/New_York") from error
    return aware.dt.tz_convert("UTC").dt.tz_localize(None)


def _is_text(values: pd.Series) -> bool:
    return values.dtype == object or pd.api.types.is_string_dtype(values.dtype)
