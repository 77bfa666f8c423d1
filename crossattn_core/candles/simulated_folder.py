"""A simulated market written as a folder of candle files: what ``feed.kind: files`` reads, the same bytes every time.

Numbers keep six significant digits, so that a last bit that differs between two processors reaches no file.
"""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from crossattn_core.candles.feeds.feed import KEYS, PRICE_COLUMNS
from crossattn_core.candles.feeds.files import folder_of
from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.days import bounds
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import Experiment
from crossattn_core.storage import write_text
from crossattn_core.universe import Asset

__all__ = ["write_simulated"]

_FILE_COLUMNS = {
    "candles": ("opened_at", *PRICE_COLUMNS, "volume"),
    "funding": (KEYS["funding"], "rate"),
    "dividends": (KEYS["dividends"], "amount"),
}
"""Series -> the columns of its file, the instant first; ``crossattn_core/candles/feeds/files.py`` says what it reads."""
_DIGITS = 6


def write_simulated(experiment: Experiment, folder: Path) -> list[Path]:
    """Write the market of ``feed.simulated`` over the experiment's assets and period as CSV files; gives their paths.

    Raises:
        ExperimentError: the period is open, so there is no last day to write.
    """
    period, grid = experiment.period, experiment.candle_grid
    if period.end is None:
        raise ExperimentError("period.end is open; candles are simulated up to a day: name it")
    start, end = bounds(period.start)[0], bounds(period.end)[1]
    over = end.replace(tzinfo=UTC)
    feed = SimulatedFeed(experiment.feed.simulated, experiment.assets, period, lambda: over, grid)
    written = []
    for asset in experiment.assets:
        for kind in asset.series:
            rows = _rows(feed, kind, asset, start, end)
            if len(rows):
                path = folder / folder_of(asset, grid.bar if kind == "candles" else kind) / f"{asset.symbol}.csv"
                written.append(write_text(path, _csv(rows)))
    return written


def _rows(feed: SimulatedFeed, kind: str, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
    read = {"candles": feed.candles, "funding": feed.funding, "dividends": feed.dividends}[kind]
    instant, *values = _FILE_COLUMNS[kind]
    rows = read(asset, start, end)[[instant, *values]]
    return rows.rename(columns={instant: "ex_date" if kind == "dividends" else "timestamp"})


def _csv(rows: pd.DataFrame) -> str:
    instant, *values = rows.columns
    columns = [[f"{at:%Y-%m-%dT%H:%MZ}" for at in rows[instant]]]
    columns += [[f"{value:.{_DIGITS}g}" for value in rows[name]] for name in values]
    return "\n".join([",".join(rows.columns), *map(",".join, zip(*columns, strict=True))]) + "\n"
