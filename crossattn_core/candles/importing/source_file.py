"""A file as a table of cells, whatever it is packed in: text with its separator and preamble, JSON, Parquet, Feather.

Nothing is interpreted here: text stays text, and a row stays at its place.
"""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from crossattn_core.errors import CandleError

__all__ = ["SUFFIXES", "SourceFile", "open_source"]

SUFFIXES = (".csv", ".txt", ".tsv", ".json", ".parquet", ".feather", ".zip", ".gz")
_SEPARATORS = (";", "\t", "|", ",")
"""In the order of trust: a file with decimal commas has commas in every line too."""
_MIN_FIELDS = 5
"""A time and four prices."""
_SNIFFED_LINES = 25
_NUMBER = re.compile(r"^[-+]?[\d.,]*\d[\d.,]*([eE][-+]?\d+)?$")


@dataclass(frozen=True)
class SourceFile:
    """One table of one file."""

    path: Path
    name: str
    """File name without the suffixes of packing and kind: of a member where the file is an archive."""
    headers: tuple[tuple[str, ...], ...]
    """The rows above the first one of values, one name a column each; several where the columns have several levels."""
    cells: pd.DataFrame
    """The rows of values: columns 0, 1, ..., text as text, '' or NaN where there is nothing."""
    separator: str = ""
    """Of a text file."""
    preamble: str = ""
    """The line above the table, where there is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns by the last header that names most of them; none in a file without headers."""
        return self.headers[-1] if self.headers else ()

    @property
    def written_at(self) -> datetime:
        """When the file was written, by its folder; naive UTC."""
        return np.datetime64(self.path.stat().st_mtime_ns // 1000, "us").item()


def open_source(path: Path) -> list[SourceFile]:
    """The tables of a file: one, or one for each member of an archive.

    Raises:
        CandleError: no such file, of no kind that is read, or no table.
    """
    if not path.is_file():
        raise CandleError(f"{path}: no such file")
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [name for name in sorted(archive.namelist()) if not name.endswith("/") and "__MACOSX" not in name]
                return [_of_bytes(path, Path(name).name, archive.read(name)) for name in members if _is_table(name)]
        if path.suffix.lower() == ".gz":
            return [_of_bytes(path, path.stem, gzip.decompress(path.read_bytes()))]
        return [_of_bytes(path, path.name, path.read_bytes())]
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise CandleError(f"{path}: cannot be unpacked ({error}); fetch the file again") from error


def _is_table(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _of_bytes(path: Path, name: str, content: bytes) -> SourceFile:
    suffix, stem = Path(name).suffix.lower(), Path(name).stem
    try:
        if suffix == ".json":
            return _of_json(path, stem, json.loads(content))
        if suffix in (".parquet", ".feather"):
            read = pd.read_parquet if suffix == ".parquet" else pd.read_feather
            return _of_frame(path, stem, read(io.BytesIO(content)))
    except (ValueError, OSError) as error:
        raise CandleError(f"{path}: cannot be read as {suffix[1:]} ({error}); fetch the file again") from error
    if suffix not in (".csv", ".txt", ".tsv"):
        raise CandleError(f"{path}: a file ending in {suffix!r} is not read; those ending in {', '.join(SUFFIXES)} are")
    return _of_text(path, stem, content)


def _of_json(path: Path, stem: str, values: object) -> SourceFile:
    if isinstance(values, list) and values and all(isinstance(row, list) and len(row) >= _MIN_FIELDS for row in values):
        return SourceFile(path, stem, (), pd.DataFrame(values))
    if isinstance(values, list) and values and all(isinstance(row, dict) for row in values):
        frame = pd.DataFrame(values)
        return SourceFile(path, stem, (tuple(map(str, frame.columns)),), frame.set_axis(range(frame.shape[1]), axis=1))
    raise CandleError(f"{path}: its JSON is no list of candles, each a list [time, open, high, low, close, volume] or an object")


def _of_frame(path: Path, stem: str, frame: pd.DataFrame) -> SourceFile:
    """A frame with its index as columns: those without a name called '', and left out where they only count rows."""
    levels = [frame.index.get_level_values(place) for place in range(frame.index.nlevels)]
    kept = [level for level in levels if level.name is not None or not pd.api.types.is_integer_dtype(level.dtype)]
    depth = frame.columns.nlevels
    columns = [name if isinstance(name, tuple) else (name,) for name in frame.columns]
    named = [(str(level.name or ""),) + ("",) * (depth - 1) for level in kept] + [tuple(map(str, name)) for name in columns]
    cells = [pd.Series(level).reset_index(drop=True) for level in kept]
    cells += [frame.iloc[:, place].reset_index(drop=True) for place in range(frame.shape[1])]
    table = pd.concat(cells, axis=1, ignore_index=True) if cells else pd.DataFrame()
    return SourceFile(path, stem, tuple(zip(*named, strict=True)), table)


def _of_text(path: Path, stem: str, content: bytes) -> SourceFile:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line for line in text[:100_000].splitlines() if line.strip()][:_SNIFFED_LINES]
    separator, skipped = _separator_of(path, lines)
    preamble = "\n".join(lines[:skipped])
    body = text.split("\n", maxsplit=_lines_before(text, skipped))[-1] if skipped else text
    try:
        cells = pd.read_csv(
            io.StringIO(body), sep=separator, header=None, dtype=str, keep_default_na=False, skip_blank_lines=True,
            skipinitialspace=True, on_bad_lines="error",
        )  # fmt: skip
    except (ValueError, pd.errors.ParserError) as error:
        raise CandleError(f"{path}: no table ({error}); every line must have as many fields as the first") from error
    cells = cells.fillna("")
    headers = _header_rows(cells.head(_SNIFFED_LINES))
    names = tuple(tuple(str(cell).strip() for cell in cells.iloc[row]) for row in range(headers))
    return SourceFile(path, stem, names, cells.iloc[headers:].reset_index(drop=True), separator, preamble)


def _separator_of(path: Path, lines: Sequence[str]) -> tuple[str, int]:
    """The separator, and how many lines stand above the table."""
    if not lines:
        raise CandleError(f"{path}: the file is empty")
    for skipped in range(min(3, len(lines))):
        for separator in _SEPARATORS:
            if min(line.count(separator) for line in lines[skipped:]) >= _MIN_FIELDS - 1:
                return separator, skipped
    raise CandleError(
        f"{path}: no table of candles: its lines have no {_MIN_FIELDS} fields between , ; | or tabs "
        f"(first line: {lines[0][:80]!r})"
    )


def _lines_before(text: str, skipped: int) -> int:
    """Line breaks up to the table, blank lines included."""
    seen = 0
    for place, line in enumerate(text.split("\n")):
        if seen == skipped:
            return place
        seen += bool(line.strip())
    return 0


def _header_rows(cells: pd.DataFrame) -> int:
    """How many rows stand above the first one of values: one with four numbers in it."""
    for row in range(len(cells)):
        if sum(bool(_NUMBER.match(str(cell).strip())) for cell in cells.iloc[row]) >= _MIN_FIELDS - 1:
            return row
    return min(1, len(cells))
