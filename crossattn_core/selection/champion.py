"""From the strategies' targets to the followed one: simulate each, choose the champion by realised results, follow it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate_all
from crossattn_core.experiment import Experiment
from crossattn_core.panel.align import forecast_array
from crossattn_core.panel.labels import compute_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.selection.choose import Champions, choose_champions
from crossattn_core.selection.follow import Followed, follow
from crossattn_core.selection.realised import daily_ic_sums, net_returns

__all__ = ["select_champion"]


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
