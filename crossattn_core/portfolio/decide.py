"""Target weights by strategy name: the one door to this room.

A strategy is a baseline (``cash``, ``equal_weight``, ``buy_and_hold``, ``inverse_volatility``, ``momentum``) or a
forecast family (``attention``, ``ridge_var``, ...), whose forecasts become weights by ``portfolio.rule``, or a family
that gives weights itself (``portfolio_transformer``), which meet the same limits.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.sizing import forecast_decisions
from crossattn_core.portfolio.strategies import BASELINE_RULES
from crossattn_core.portfolio.target_weights import Targets, decision_rows, read_weights, save_weights, weights_path
from crossattn_core.portfolio.weight_sizing import weight_decisions
from crossattn_core.walk_forward.predictions import forecast_array

__all__ = [
    "Targets",
    "decision_rows",
    "forecast_array",
    "needs_forecast",
    "read_weights",
    "save_weights",
    "target_weights",
    "weights_path",
]


def needs_forecast(strategy: str) -> bool:
    """Whether ``strategy`` is a forecast family rather than a baseline."""
    return strategy not in BASELINE_RULES


def target_weights(
    strategy: str,
    past_panel: Panel,
    past_forecast_TN: NDArray[np.floating] | None,
    rows_D: NDArray[np.int64],
    experiment: Experiment,
    *,
    past_weight_TN: NDArray[np.floating] | None = None,
) -> Targets:
    """What ``strategy`` wants to hold at each decision; row d reads nothing after ``rows_D[d]``.

    Args:
        strategy: a baseline's name, or a forecast family's.
        past_panel: the panel, to its newest row.
        past_forecast_TN: (T, N) log return over ``labels.trade_horizon`` as forecast at each row, NaN where there is
            none; only for forecast families (see ``forecast_array``).
        rows_D: decision rows, increasing (see ``decision_rows``).
        past_weight_TN: (T, N) weights that the family itself wants, in place of forecasts; only for a family that gives
            weights.

    Raises:
        BacktestError: a forecast family without forecasts, or forecasts of another shape.
    """
    belief_DN = np.empty((0, 0))
    if not needs_forecast(strategy):
        target_DN = BASELINE_RULES[strategy](past_panel, rows_D, experiment)
    elif past_weight_TN is not None:
        target_DN = weight_decisions(past_panel, past_weight_TN, rows_D, experiment)
    elif past_forecast_TN is None:
        raise BacktestError(
            f"{strategy}: no forecasts given; a strategy that is none of {', '.join(BASELINE_RULES)} is a forecast family"
        )
    else:
        decided = forecast_decisions(past_panel, past_forecast_TN, rows_D, experiment)
        target_DN, belief_DN = decided.target_DN, decided.belief_DN
    return Targets(strategy, past_panel.asset_ids, past_panel.as_of_T[rows_D], target_DN, belief_DN)
