"""A small experiment that runs the whole line in seconds: candle files written from a simulated market."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from crossattn_core import data_stages, model_stages
from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.days import bounds
from crossattn_core.experiment import Experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.report.inputs import ReportInputs
from crossattn_core.report.page import ReportPaths
from crossattn_core.trading_calendar import ALWAYS_OPEN, closing_times

FIRST, LAST = "2025-03-01", "2025-03-28"
STORED_TABLES = ("aligned.bars", "features.trailing", "features.bar")


def small_experiment(folder: Path, **sections: object) -> Experiment:
    """Three perps and a stock over four weeks of hours, a tiny network, read from the files under ``folder``."""
    settings: dict[str, object] = {
        "name": "small",
        "assets": [
            {"venue": "bybit", "symbol": "BTCUSDT"},
            {"venue": "bybit", "symbol": "ETHUSDT"},
            {"venue": "bybit", "symbol": "SOLUSDT"},
            {"venue": "yahoo", "symbol": "NVDA"},
        ],
        "period": {"start": FIRST, "end": LAST},
        "feed": {"kind": "files", "folder": str(folder)},
        "model": {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 1},
        "training": {"epochs": 1, "warm_epochs": 1},
        "regimes": {"minimum_days": 10, "volatility_days": 3, "confirm_days": 2},
        "retrain": {"minimum_days": 14, "every_days": 7, "cooldown_days": 3},
        "baselines": {"momentum_hours": 48, "volatility_hours": 96, "ridge_lags": 6},
        "selection": {"every_days": 1, "window_days": 7, "minimum_days": 5, "confidence": 0.51, "block_days": 2},
        "portfolio": {"volatility_hours": 96},
        "backtest": {"bootstrap_samples": 50},
        "analysis": {"permutations": 20, "window_days": 14, "max_lag": 6},
    }
    return Experiment.model_validate(settings | sections)


def write_market(folder: Path, last: str = LAST) -> None:
    """Write candles and funding of the small universe, up to ``last``, in the layout of the files feed."""
    write_market_of(small_experiment(folder, period={"start": FIRST, "end": last}), folder)


def write_market_of(experiment: Experiment, folder: Path) -> None:
    """The same for the universe, period and bar of an experiment."""
    feed = SimulatedFeed(
        experiment.feed.simulated.model_copy(update={"leads": (), "missing_share": 0.0}),
        experiment.assets,
        experiment.period,
        past,
        experiment.grid,
    )
    start, end = bounds(experiment.period.start)[0], bounds(experiment.period.end or experiment.period.start)[1]
    for asset in experiment.assets:
        candles = feed.candles(asset, start, end).rename(columns={"opened_at": "timestamp"})
        _write(
            candles[["timestamp", "open", "high", "low", "close", "volume"]],
            folder / f"{asset.venue}_{experiment.grid.bar}" / f"{asset.symbol}.parquet",
        )
        if asset.pays_funding:
            funding = feed.funding(asset, start, end).rename(columns={"settled_at": "timestamp", "rate": "funding_rate"})
            _write(funding[["timestamp", "funding_rate"]], folder / "bybit_funding" / f"{asset.symbol}.parquet")


def rewrite_after(folder: Path, moment: datetime, seed: int, step: timedelta = timedelta(hours=1)) -> None:
    """Replace every candle that closes after ``moment`` (naive UTC), and every later settlement, by a random one."""
    random = np.random.default_rng(seed)
    for path in sorted(folder.rglob("*.parquet")):
        rows = pd.read_parquet(path)
        if "funding_rate" in rows:
            later = rows["timestamp"] > moment
            rows.loc[later, "funding_rate"] = random.normal(0, 1e-4, int(later.sum()))
        else:
            calendar = "XNYS" if path.parent.name.startswith("yahoo") else ALWAYS_OPEN
            opened_T = rows["timestamp"].to_numpy().astype("datetime64[us]")
            later = closing_times(calendar, opened_T, step) > np.datetime64(moment, "us")
            factor = np.exp(np.cumsum(random.normal(0, 0.01, int(later.sum()))))
            for name in ("open", "high", "low", "close"):
                rows.loc[later, name] = rows.loc[later, name] * factor
            rows.loc[later, "volume"] = rows.loc[later, "volume"] * random.uniform(0.2, 5.0, int(later.sum()))
        _write(rows, path)


def past() -> datetime:
    """A clock long after the small market's last candle."""
    return datetime(2026, 1, 1, tzinfo=UTC)


def export_line(experiment: Experiment, home: Path) -> Line:
    """The line up to the panel, without Dagster."""
    line = Line(experiment, open_home(home, experiment), clock=past)
    first, last = experiment.period.start, line.last_day
    for venue in sorted({asset.venue for asset in experiment.assets}):
        data_stages.ingest_candles(line, venue, first, last)
    data_stages.ingest_funding(line, "bybit", first, last)
    for name in STORED_TABLES:
        data_stages.build_table(line, name, first, last)
    data_stages.export_windows(line, first, last)
    return line


def run_line(experiment: Experiment, home: Path) -> tuple[Line, ReportInputs, ReportPaths]:
    """The whole line, without Dagster."""
    line = export_line(experiment, home)
    first, last = experiment.period.start, line.last_day
    model_stages.find_regimes(line)
    list(model_stages.walk_forward(line, first, last))
    model_stages.watch(line)
    model_stages.snapshot_attention(line, first, last)
    model_stages.decide_weights(line)
    inputs, paths = model_stages.write_report(line)
    return line, inputs, paths


def _write(rows: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path, index=False)
