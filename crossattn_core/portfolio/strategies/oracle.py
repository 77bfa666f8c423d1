"""The oracle: the simulated market's true conditional mean under the same rule, without shrinkage.

What nobody can beat by forecasting better, up to chance: beside it a family's result says how much of what there is it found. It
reads the market's truth, up to the decision's row and never a later one, so it exists for simulated candles alone.
"""

import numpy as np
from numpy.typing import NDArray

from crossattn_core.candles.feeds.simulated_mean import expected_returns
from crossattn_core.days import bounds
from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.sizing import size_forecasts
from crossattn_core.portfolio.strategies.registry import BASELINES


@BASELINES.register("oracle")
def oracle(past_panel: Panel, rows_D: NDArray[np.int64], experiment: Experiment) -> NDArray[np.float64]:
    """Weights from the expected return over the trade horizon; shrinkage off, since there is nothing to find out.

    Raises:
        BacktestError: the candles are not simulated.
    """
    if experiment.feed.kind != "simulated":
        raise BacktestError(
            f"oracle: the true mean of {experiment.feed.kind!r} candles is not known; take it out of baselines.strategies, "
            "or set feed.kind to 'simulated'"
        )
    labels, grid = experiment.labels, past_panel.grid
    mean_TN = expected_returns(
        experiment.feed.simulated,
        experiment.assets,
        bounds(experiment.period.start)[0],
        len(past_panel.as_of_T),
        execution_lag=labels.execution_lag,
        horizon=labels.trade_horizon,
        grid=grid,
    )
    unshrunk = experiment.portfolio.model_copy(update={"shrinkage": 1.0, "shrinkage_prior_sd": 0.0})
    return size_forecasts(past_panel, mean_TN, rows_D, experiment.model_copy(update={"portfolio": unshrunk})).target_DN
