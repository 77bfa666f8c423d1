"""The walk-forward: what a retrain and a carried day cost, and what retraining is worth, out of sample.

    python -m benchmarks.bench_rolling HOME EXPERIMENT.yaml [--variants base static ...] [--last 2025-06-30] [--scratch FOLDER]

HOME holds an exported panel (run the pipeline up to ``feature_windows`` first). Each variant walks in a folder of its own
under ``--scratch``, so the home's own results stay; run again with the same folder, the walks are not made anew and
their timings are read back. A walk that was stopped goes on, and only the days made anew are timed. CPU seconds are of
this process; keep OMP_NUM_THREADS at 1, or give the cores that --threads may use.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crossattn_core.analysis.forecast_quality import ALL_ASSETS, forecast_arrays, forecast_quality
from crossattn_core.backtest.comparison import sharpe_intervals
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.performance import periods_per_day, returns_by_period
from crossattn_core.backtest.simulate import simulate_all
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import Home
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.store import open_panel
from crossattn_core.portfolio.decisions import decide_all
from crossattn_core.storage import write_json
from crossattn_core.walk_forward.store import read_forecasts, read_plan, read_predictions
from crossattn_core.walk_forward.walk import walk

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("as the experiment says", {}),
    "static": (
        "one model, made once",
        {"every_days": 365, "history_days": 365, "on_regime_change": False, "on_drift": False, "on_degraded": False},
    ),
    "all_history": (
        "all history alike: no weight by regime or age, no regime trigger",
        {"other_regime_weight": 1.0, "recency_half_life_days": 36_500.0, "history_days": 3_650, "on_regime_change": False},
    ),
    "cold": ("every model from a cold start", {"cold_every": 1}),
    "weekly": ("a retrain every seven days", {"every_days": 7}),
}
"""What each variant is, and the knobs of ``retrain`` in which it differs."""


def walk_once(experiment: Experiment, panel: Panel, scratch: Home, last: date, *, once: bool) -> dict[str, list[float]]:
    """Walk all days up to ``last`` and time them; ``once`` forbids a second retrain."""
    cold, warm, carried = [], [], []
    kept = scratch.root / "timings.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    began, started = time.perf_counter(), time.process_time()
    if once:
        far = experiment.retrain.model_copy(update={"every_days": 365 * 100})
        experiment = experiment.model_copy(update={"retrain": far})
    for result in walk(scratch, experiment, panel, experiment.period.start, last):
        spent, started = time.process_time() - started, time.process_time()
        if result.reused:
            continue
        if result.trained:
            (warm if result.trained["attention"].get("parent_id") else cold).append(spent)
        elif result.action == "carry":
            carried.append(spent)
    spent = {"cold": cold, "warm": warm, "carried": carried, "wall": [time.perf_counter() - began]}
    write_json(kept, spent)
    return spent


def judged(experiment: Experiment, panel: Panel, home: Home, last: date) -> dict[str, str]:
    """IC at the traded horizon and net Sharpe, with their intervals, by family; and the benchmark's Sharpe."""
    forecasts = read_forecasts(home, experiment.period.start, last)
    horizons = experiment.labels.horizons
    arrays = forecast_arrays(forecasts, panel.as_of_T, panel.asset_ids, horizons)
    labels = compute_labels(panel, experiment.labels)
    quality = forecast_quality(arrays, labels, panel.asset_ids, horizons, experiment.backtest, block_bars=panel.grid.block_bars)
    quality = quality[(quality["asset_id"] == ALL_ASSETS) & (quality["measure"] == "IC")]
    quality = quality[quality["horizon"] == experiment.labels.trade_horizon].set_index("family")
    first = experiment.period.start
    targets = decide_all(panel, read_forecasts(home, first, last), read_predictions(home, first, last, "weight"), experiment)
    market = market_of(panel, experiment.assets, experiment.costs, experiment.backtest)
    simulations = simulate_all(market, targets, experiment)
    settings = experiment.backtest
    intervals = sharpe_intervals(
        {name: returns_by_period(simulation) for name, simulation in simulations.items()},
        "equal_weight",
        samples=settings.bootstrap_samples,
        confidence=settings.confidence,
        seed=settings.seed,
        periods_per_day=periods_per_day(panel.grid),
    )
    rows = {}
    for family in (*experiment.retrain.families, "equal_weight"):
        sharpe, simulation = intervals.sharpe[family], simulations[family]
        money = f"{sharpe.estimate:+.2f} [{sharpe.low:+.2f}, {sharpe.high:+.2f}]"
        net = f"{simulation.equity_T[-1] / simulation.capital - 1:+.1%}"
        ic = "-"
        if family in quality.index:
            row = quality.loc[family]
            ic = f"{row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        rows[family] = f"{ic} | {money} | {net}"
    return rows


def main() -> None:
    """Print one row a variant and family, then the retrains of the first variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--last", type=date.fromisoformat, default=None)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1, help="training.threads of every variant")
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.experiment)
    training = experiment.training.model_copy(update={"threads": arguments.threads})
    experiment = experiment.model_copy(update={"training": training})
    panel = open_panel(Home(arguments.home), experiment)
    last = arguments.last or panel.as_of_T[-25].astype("datetime64[D]").item()
    # Nothing after the last walked day is judged: positions without forecasts would run on.
    panel = panel.until(int(np.searchsorted(panel.as_of_T, np.datetime64(last) + np.timedelta64(1, "D"), side="right")))
    scratch = arguments.scratch or Path(tempfile.mkdtemp(prefix="rolling-"))
    print(f"{len(panel.asset_ids)} assets, days {experiment.period.start} .. {last}.\n")
    costs, worth = [], []
    for name in arguments.variants:
        what, knobs = VARIANTS[name]
        retrain = experiment.retrain.model_copy(update=knobs)
        changed = experiment.model_copy(update={"retrain": retrain})
        spent = walk_once(changed, panel, Home(scratch / name), last, once=name == "static")
        costs.append(cost_row(name, what, spent))
        worth += [
            f"| {name} | {family} | {rows} |" for family, rows in judged(changed, panel, Home(scratch / name), last).items()
        ]
    print(
        "| variant | what | retrains timed | CPU s cold | CPU s warm | CPU ms a carried day | CPU s in all | wall s in all |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(costs), "\n")
    print(f"| variant | strategy | IC at {experiment.labels.trade_horizon} h | net Sharpe | net return |\n|---|---|---|---|---|")
    print("\n".join(worth), "\n")
    print(f"Retrains of '{arguments.variants[0]}':\n")
    print(retrain_table(read_plan(Home(scratch / arguments.variants[0]))))


def cost_row(name: str, what: str, spent: Mapping[str, list[float]]) -> str:
    """What a variant cost, in CPU seconds; a retrain is of all families."""
    cold, warm = (f"{np.mean(spent[kind]):.1f}" if spent[kind] else "-" for kind in ("cold", "warm"))
    total = sum(sum(times) for kind, times in spent.items() if kind != "wall")
    wall = f"{sum(spent['wall']):.0f}" if spent.get("wall") else "-"
    retrains = len(spent["cold"]) + len(spent["warm"])
    carried = 1e3 * float(np.mean(spent["carried"] or [np.nan]))
    return f"| {name} | {what} | {retrains} | {cold} | {warm} | {carried:.0f} | {total:.0f} | {wall} |"


def retrain_table(plan: pd.DataFrame) -> str:
    """Every retrain of the first family, with its reason."""
    rows = plan[(plan["action"] == "retrain") & (plan["family"] == plan["family"].iloc[0])]
    lines = ["| day | reason | why | regime | train start | rows | healthy |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row.day:%Y-%m-%d} | {row.reason} | {row.why} | {row.regime} | {row.train_start:%Y-%m-%d} | {row.rows} "
        f"| {'yes' if row.healthy else row.health} |"
        for row in rows.itertuples()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
