"""What forecasts earn where the truth is known: the demo's market under other seeds, and markets without anything to find.

    python -m benchmarks.bench_money [--seeds 101 102 ...] [--scratch FOLDER] [--nulls 20]

Three tables. Money: each seed's market through the line up to the forecasts, then every strategy beside the oracle, the true
conditional mean under the same rule. Nothing to find: a year of attention and of ridge, refitted every 28 days, on null markets.
Size: forecasts of a known IC over 20 assets, and how much of each is believed after so many days. Run again with the same
``--scratch``, no model of the first table is fitted anew, whatever changed in the code. Writes benchmarks/results_money.md. Never
tune on the demo's own seed.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core import data_stages, model_stages
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.performance import sharpe
from crossattn_core.backtest.simulate import simulate, simulate_all
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model
from crossattn_core.home import open_home
from crossattn_core.line import Line
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.decisions import decide_all, decision_rows, target_weights
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.walk_forward.predictions import as_forecasts
from crossattn_core.walk_forward.store import read_predictions
from crossattn_core.walk_forward.walk import walk

HERE = Path(__file__).parent
STRATEGIES = ("attention", "ridge_var", "oracle", "equal_weight")
NULL_FAMILIES = ("attention", "ridge_var")
NULL_ASSETS = 8
STORED_TABLES = ("aligned.bars", "features.trailing", "features.bar")
HISTORY_DAYS, YEAR_DAYS = 90, 365
SIZE_DAYS = (15, 30, 60, 120, 240)


def planted_simulations(seed: int, scratch: Path) -> dict[str, Simulation]:
    """The demo under another seed, up to the money of every strategy."""
    experiment = load_experiment(
        None,
        {"feed": {"simulated": {"seed": seed}}, "baselines": {"strategies": ["cash", "equal_weight", "ridge_var", "oracle"]}},
    )
    line = Line(experiment, open_home(scratch / f"seed{seed}", experiment), clock=lambda: datetime(2100, 1, 1, tzinfo=UTC))
    first, last = experiment.period.start, line.last_day
    if not line.home.walk_forward.is_dir():
        for venue in experiment.venues:
            data_stages.ingest_candles(line, venue, first, last)
        data_stages.ingest_funding(line, "bybit", first, last)
        for name in STORED_TABLES:
            data_stages.build_table(line, name, first, last)
        data_stages.export_windows(line, first, last)
        model_stages.find_regimes(line)
    panel = line.panel()
    for _ in walk(line.home, experiment, panel, first, last):
        pass
    predictions = read_predictions(line.home, first, last)
    targets = decide_all(panel, as_forecasts(predictions), predictions[predictions["kind"] == "weight"], experiment)
    market = market_of(panel, experiment.assets, experiment.costs, experiment.backtest)
    return simulate_all(market, {name: targets[name] for name in STRATEGIES}, experiment)


def null_simulation(family: str, seed: int) -> Simulation:
    """A year of a family on a market of independent normal returns."""
    panel = planted_market(24 * YEAR_DAYS, NULL_ASSETS, (), seed=seed)
    experiment = planted_experiment(panel)
    forecast_TNH = np.full((*panel.mark_price_TN.shape, len(experiment.labels.horizons)), np.nan)
    for day in range(HISTORY_DAYS, YEAR_DAYS, experiment.retrain.every_days):
        row = 24 * day
        request = FitRequest(panel, row - 1, np.ones(len(panel.as_of_T), np.float32), seed)
        rows = np.arange(row, min(row + 24 * experiment.retrain.every_days, len(panel.as_of_T)))
        forecast_TNH[rows] = fit_model(family, request, experiment).forecast(panel, rows)
    return _traded(family, panel, forecast_TNH[..., -1], forecast_TNH[..., 0], experiment)[1]


def believed_D(seed: int, ic: float, short_ic: float, assets: int = 20) -> NDArray[np.float64]:
    """(D,) share of the forecasts that is believed, of forecasts that are right in size; 1 where their skill is known."""
    panel = planted_market(24 * (HISTORY_DAYS + max(SIZE_DAYS) + 3), assets, (), seed=seed)
    experiment = planted_experiment(panel)
    labels, rng = compute_labels(panel, experiment.labels), np.random.default_rng(seed)
    made = []
    for outcome_TN, one_ic in ((labels.value_TNH[..., -1], ic), (labels.value_TNH[..., 0], short_ic)):
        noise_TN = rng.standard_normal(outcome_TN.shape) * np.nanstd(outcome_TN, axis=0)
        forecast_TN = one_ic * (one_ic * np.nan_to_num(outcome_TN) + np.sqrt(1 - one_ic**2) * noise_TN)
        forecast_TN[: 24 * HISTORY_DAYS] = np.nan
        made.append(forecast_TN)
    return _traded("attention", panel, *made, experiment)[0].shrinkage_D


def _traded(
    family: str, panel: Panel, forecast_TN: NDArray[np.floating], short_TN: NDArray[np.floating], experiment: Experiment
) -> tuple[Targets, Simulation]:
    rows_D = decision_rows(panel.as_of_T, experiment.portfolio, first=panel.as_of_T[24 * HISTORY_DAYS])
    targets = target_weights(family, panel, forecast_TN, rows_D, experiment, past_short_TN=short_TN)
    market = market_of(panel, experiment.assets, experiment.costs, experiment.backtest)
    done = simulate(market, targets, execution_lag=experiment.labels.execution_lag, capital=experiment.backtest.capital)
    return targets, done


def _net(simulation: Simulation) -> float:
    return float(simulation.equity_T[-1] / simulation.capital - 1)


def money_table(seeds: Sequence[int], scratch: Path) -> list[str]:
    """Sharpe ratio, net return and turnover a day by seed and strategy, and their means."""
    lines = ["| seed | " + " | ".join(STRATEGIES) + " |", "|---|" + "---|" * len(STRATEGIES)]
    facts = []
    for seed in seeds:
        simulations = planted_simulations(seed, scratch)
        facts.append([
            (np.nan_to_num(sharpe(one.return_T[1:], 8760)), _net(one), one.turnover_T.sum() * 24 / len(one.turnover_T))
            for one in simulations.values()
        ])  # fmt: skip
        lines.append(_money_line(str(seed), np.array(facts[-1])))
    every_SKF = np.array(facts)
    lines.append(_money_line("mean", every_SKF.mean(axis=0)))
    error_K = every_SKF[..., 0].std(axis=0, ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.full(len(STRATEGIES), np.nan)
    return [*lines, "| standard error of Sharpe | " + " | ".join(f"{error:.2f}" for error in error_K) + " |"]


def null_table(seeds: Sequence[int]) -> list[str]:
    """Net returns of each family where there is nothing to find, and how often it held nothing at all."""
    lines = [
        f"\nNet return on {len(seeds)} null markets of {NULL_ASSETS} assets, {YEAR_DAYS - HISTORY_DAYS} days:\n",
        "| family | median | mean | worst | best | never traded | turnover a day |",
        "|---|---|---|---|---|---|---|",
    ]
    for family in NULL_FAMILIES:
        simulations = [null_simulation(family, seed) for seed in seeds]
        net_K = np.array([_net(one) for one in simulations])
        turned = np.mean([one.turnover_T.sum() / (YEAR_DAYS - HISTORY_DAYS) for one in simulations])
        lines.append(
            f"| {family} | {np.median(net_K):+.2%} | {net_K.mean():+.2%} | {net_K.min():+.2%} | {net_K.max():+.2%} "
            f"| {int((net_K == 0).sum())} | {turned:.2%} |"
        )
    return [*lines, ""]


def _money_line(name: str, fact_KF: NDArray[np.float64]) -> str:
    return f"| {name} | " + " | ".join(f"{ratio:.2f}; {net:+.0%}; {turned:.0%} a day" for ratio, net, turned in fact_KF) + " |"


def main() -> None:
    """Measure, print and store the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(101, 111)))
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--nulls", type=int, default=20)
    arguments = parser.parse_args()
    scratch, started = arguments.scratch or Path(tempfile.mkdtemp(prefix="money-")), time.process_time()
    lines = ["Sharpe ratio; net return; turnover. 365 days of the demo's market, the first 90 of them history:\n"]
    lines += money_table(arguments.seeds, scratch)
    lines += null_table(range(arguments.nulls))
    lines += ["Share of a forecast that is believed, median of ten markets of 20 assets, by days since the first forecast:\n"]
    lines += ["| IC at 24 h, 1 h | " + " | ".join(map(str, SIZE_DAYS)) + " |", "|---|" + "---|" * len(SIZE_DAYS)]
    for ic, short_ic in ((0.05, 0.05), (0.1, 0.1)):
        share_S = np.median([believed_D(seed, ic, short_ic)[list(SIZE_DAYS)] for seed in range(10)], axis=0)
        lines.append(f"| {ic}, {short_ic} | " + " | ".join(f"{share:.2f}" for share in share_S) + " |")
    lines.append(f"\nOne core, {(time.process_time() - started) / 60:.1f} CPU minutes in all.\n")
    (HERE / "results_money.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
