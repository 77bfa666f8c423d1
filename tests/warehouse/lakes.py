"""Small lakes and warehouses for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossattn_core.candles.lake.day_files import CANDLE_SCHEMA, DIVIDEND_SCHEMA, FUNDING_SCHEMA
from crossattn_core.candles.lake.store import COVERAGE_SCHEMA, QUARANTINE_SCHEMA, REVISION_SCHEMA
from crossattn_core.days import bounds
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.warehouse.connection import connect
from crossattn_core.warehouse.project import Project
from crossattn_core.warehouse.run import build
from crossattn_core.warehouse.sources import sync_sources

BITCOIN, APPLE = "bybit:linear:BTCUSDT", "yahoo:equity:AAPL"


def small_experiment(
    first: date, last: date, *, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "AAPL"), **overrides: object
) -> Experiment:
    """A few assets of the default universe over a few days."""
    settings = {"period": {"start": first, "end": last}, "feed": {"simulated": {"leads": []}}, **overrides}
    return load_experiment(overrides=settings).select(symbols)


@dataclass
class ListedLake:
    """A lake that holds given rows."""

    candles: pa.Table
    funding: pa.Table = field(default_factory=FUNDING_SCHEMA.empty_table)
    dividends: pa.Table = field(default_factory=DIVIDEND_SCHEMA.empty_table)

    def read_candles(self, venue: str | None, first: date, last: date) -> pa.Table:
        return _within(self.candles, "closed_at", first, last)

    def read_funding(self, first: date, last: date) -> pa.Table:
        return _within(self.funding, "settled_at", first, last)

    def read_dividends(self, first: date, last: date) -> pa.Table:
        return _within(self.dividends, "ex_at", first, last)

    def read_revisions(self, first: date, last: date) -> pa.Table:
        return REVISION_SCHEMA.empty_table()

    def read_quarantine(self, first: date, last: date) -> pa.Table:
        return QUARANTINE_SCHEMA.empty_table()

    def read_coverage(self, first: date, last: date) -> pa.Table:
        return COVERAGE_SCHEMA.empty_table()


def build_all(connection: duckdb.DuckDBPyConnection, project: Project, first: date, last: date) -> None:
    """Build ``features.panel_rows`` and everything that it reads, in order."""
    for name in (*project.upstream("features.panel_rows"), "features.panel_rows"):
        build(connection, project, name, first, last)


def random_lake(experiment: Experiment, first: date, last: date, *, seed: int = 0, missing_share: float = 0.05) -> ListedLake:
    """Random walks on every asset's own calendar, some candles missing, funding every eight hours, a dividend a share."""
    rng = np.random.default_rng(seed)
    start, end = bounds(first)[0], bounds(last)[1]
    candles, funding, dividends = [], [], [DIVIDEND_SCHEMA.empty_table()]
    for asset in experiment.assets:
        bars = expected_bars(asset.calendar, start, end, experiment.candle_grid.step)
        kept = rng.random(len(bars)) >= missing_share
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(bars))))
        opening = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0, 0.001, len(bars)))
        high, low = np.maximum(opening, close) * 1.001, np.minimum(opening, close) * 0.999
        volume = rng.gamma(2.0, 10.0, len(bars))
        candles.append(
            candle_table(
                asset.asset_id,
                bars.opened_T[kept],
                bars.closed_T[kept],
                opening[kept],
                high[kept],
                low[kept],
                close[kept],
                volume[kept],
            )
        )
        if asset.pays_funding:
            settled = expected_bars(asset.calendar, start, end, timedelta(hours=8)).closed_T
            rate = rng.normal(0.0001, 0.0001, len(settled))
            funding.append(
                pa.table(
                    {"asset_id": [asset.asset_id] * len(settled), "settled_at": settled, "rate": rate, "fetched_at": settled}
                ).cast(FUNDING_SCHEMA)
            )
        opening = np.flatnonzero(np.diff(bars.session_T) != 0) + 1
        if asset.pays_dividends and len(opening):
            ex_at = bars.opened_T[opening[len(opening) // 2]]
            paid = {"asset_id": [asset.asset_id], "ex_at": [ex_at], "amount": [0.25], "fetched_at": [ex_at]}
            dividends.append(pa.table(paid).cast(DIVIDEND_SCHEMA))
    return ListedLake(
        pa.concat_tables(candles),
        pa.concat_tables(funding) if funding else FUNDING_SCHEMA.empty_table(),
        pa.concat_tables(dividends),
    )


def candle_table(
    asset_id: str,
    opened_at: np.ndarray,
    closed_at: np.ndarray,
    opening: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray,
) -> pa.Table:
    """Candles of one asset, without turnover."""
    count = len(closed_at)
    return pa.table(
        {
            "asset_id": [asset_id] * count,
            "opened_at": opened_at.astype("datetime64[us]"),
            "closed_at": closed_at.astype("datetime64[us]"),
            "open": opening.astype(float),
            "high": high.astype(float),
            "low": low.astype(float),
            "close": close.astype(float),
            "volume": volume.astype(float),
            "turnover": np.full(count, np.nan),
            "fetched_at": closed_at.astype("datetime64[us]"),
        }
    ).cast(CANDLE_SCHEMA)


def flat_candles(asset_id: str, opened_at: list[str], closed_at: list[str], close: list[float]) -> pa.Table:
    """Candles that open, rise and fall to their close: for tests of time, not of price."""
    price = np.array(close)
    return candle_table(
        asset_id,
        np.array(opened_at, "datetime64[us]"),
        np.array(closed_at, "datetime64[us]"),
        price,
        price,
        price,
        price,
        np.ones(len(price)),
    )


@contextmanager
def warehouse_of(
    experiment: Experiment, lake: ListedLake, first: date, last: date, path: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse (in memory where no path is given) whose raw tables hold the lake's days."""
    if path is not None:
        with connect(path) as connection:
            sync_sources(connection, lake, experiment, first, last)
            yield connection
        return
    connection = duckdb.connect(":memory:")
    try:
        sync_sources(connection, lake, experiment, first, last)
        yield connection
    finally:
        connection.close()


def _within(rows: pa.Table, column: str, first: date, last: date) -> pa.Table:
    start, end = bounds(first)[0], bounds(last)[1]
    return rows.filter(
        (pc.field(column) > pa.scalar(start, pa.timestamp("us"))) & (pc.field(column) <= pa.scalar(end, pa.timestamp("us")))
    )
