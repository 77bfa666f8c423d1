"""From the strategies' targets to the followed one: simulate each, choose the champion by realised results, follow it.

Axes: T rows of the panel, D days, N assets, S strategies, K sums (n, x, y, xx, yy, xy).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.performance import daily_returns
from crossattn_core.backtest.simulate import simulate_all
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.experiment import Experiment
from crossattn_core.panel.align import forecast_array
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.selection.choose import Champions, choose_champions
from crossattn_core.selection.follow import Followed, follow

__all__ = ["daily_ic_sums", "net_returns", "select_champion"]


def select_champion(
    experiment: Experiment, panel: Panel, targets: Mapping[str, Targets], forecasts: pd.DataFrame, plan: pd.DataFrame
) -> tuple[Champions, Followed]:
    """Choose the champion of each day from what was realised before it, and follow it.

    Args:
        targets: of every trained family and of the fallback, all decided at the same rows; others do not compete.
        forecasts: the stored out-of-sample forecasts.
        plan: the walk-forward's plan: which family had a healthy model in force.
    """
    labels = experiment.labels
    market = market_of(panel, experiment.assets, experiment.costs, experiment.backtest)
    candidates = dict.fromkeys((experiment.selection.fallback, *experiment.retrain.families))
    simulations = simulate_all(market, {name: targets[name] for name in candidates}, experiment)
    net_return_DS = net_returns(simulations, plan)
    computed = compute_labels(panel, labels)
    h = labels.horizons.index(labels.trade_horizon)
    day_D = net_return_DS.index.to_numpy().astype("datetime64[D]")
    ic_sums = {
        family: daily_ic_sums(
            forecast_array(forecasts, panel, family, labels.trade_horizon),
            computed.value_TNH[:, :, h],
            computed.end_TNH[:, :, h],
            panel.as_of_T,
            day_D,
        )
        for family in experiment.retrain.families
    }
    champions = choose_champions(
        net_return_DS, experiment.retrain.families, experiment.selection, seed=experiment.backtest.seed, ic_sums=ic_sums
    )
    rows_D = targets[experiment.selection.fallback].rows(panel.as_of_T)
    champion_by_day = champions.by_day.set_index("day")["champion"]
    decided_on = pd.DatetimeIndex(panel.as_of_T[rows_D] - np.timedelta64(1, "us")).normalize()
    leader_D = champion_by_day.reindex(decided_on.as_unit("us")).tolist()
    return champions, follow(targets, leader_D, panel, rows_D, experiment)


def net_returns(simulations: Mapping[str, Simulation], plan: pd.DataFrame) -> pd.DataFrame:
    """(D, S) net return of each day, index naive UTC midnight; NaN where a trained family had no healthy model in force.

    Args:
        plan: (day, family) with ``model_id``, empty where nothing was in force; strategies that it does not name count always.
    """
    columns = {}
    for strategy, simulation in simulations.items():
        day_D, return_D = daily_returns(simulation)
        columns[strategy] = pd.Series(return_D, index=pd.DatetimeIndex(day_D).as_unit("us"))
    net_return_DS = pd.DataFrame(columns)
    serving = plan.assign(serving=plan["model_id"] != "").pivot(index="day", columns="family", values="serving")
    for family in serving.columns.intersection(net_return_DS.columns):
        served_D = serving[family].reindex(net_return_DS.index).fillna(False).to_numpy(dtype=bool)
        net_return_DS.loc[~served_D, family] = np.nan
    return net_return_DS


def daily_ic_sums(
    forecast_TN: NDArray[np.floating],
    outcome_TN: NDArray[np.floating],
    end_TN: NDArray[np.integer],
    as_of_T: NDArray[np.datetime64],
    day_D: NDArray[np.datetime64],
) -> NDArray[np.float64]:
    """(D, N, K) sums over the pairs of forecast and outcome that were realised on each of the consecutive days ``day_D``.

    A pair counts on the day in which its label ended: day D holds the rows in (D 00:00, D+1 00:00].

    Args:
        end_TN: row at which each label ends; negative while it is open.
    """
    sums_DNK = np.zeros((len(day_D), outcome_TN.shape[1], 6))
    row_K, asset_K = np.nonzero(np.isfinite(forecast_TN) & np.isfinite(outcome_TN) & (end_TN >= 0))
    if not len(row_K) or not len(day_D):
        return sums_DNK
    ended = (as_of_T[end_TN[row_K, asset_K]] - np.timedelta64(1, "us")).astype("datetime64[D]")
    place_K = (ended - day_D[0].astype("datetime64[D]")).astype(np.int64)
    inside_K = (place_K >= 0) & (place_K < len(day_D))
    row_K, asset_K, place_K = row_K[inside_K], asset_K[inside_K], place_K[inside_K]
    x_K, y_K = (np.asarray(value_TN, dtype=np.float64)[row_K, asset_K] for value_TN in (forecast_TN, outcome_TN))
    cell_K, days, assets = place_K * outcome_TN.shape[1] + asset_K, len(day_D), outcome_TN.shape[1]
    for k, term_K in enumerate((np.ones(len(x_K)), x_K, y_K, x_K**2, y_K**2, x_K * y_K)):
        sums_DNK[:, :, k] = np.bincount(cell_K, weights=term_K, minlength=days * assets).reshape(days, assets)
    return sums_DNK
