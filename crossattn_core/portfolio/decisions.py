"""Decisions: which strategies are traded, at which rows, and the target weights of each.

A strategy is a registered baseline (``cash``, ``equal_weight``, ...), or a model family whose forecasts become weights by
``portfolio.rule`` (``attention``, ``ridge_var``, ...), or one that gives weights itself (``portfolio_transformer``), which meet
the same limits.

Axes: D decisions, T rows of the panel, N assets in universe order.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError, NoForecastError
from crossattn_core.experiment import Experiment, PortfolioSettings
from crossattn_core.panel.align import forecast_array, weight_array
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.sizing import size_forecasts, size_weights
from crossattn_core.portfolio.strategies.registry import BASELINES, is_baseline
from crossattn_core.portfolio.target_weights import Targets

__all__ = ["decide_all", "decision_rows", "short_forecast_array", "target_weights", "traded_strategies"]

_EPOCH = np.datetime64("1970-01-01T00:00:00", "us")


def traded_strategies(experiment: Experiment) -> tuple[str, ...]:
    """The trained families, the baselines and what the champion falls back to, each once, families first.

    A family among ``baselines.strategies`` that is not trained has nothing to trade on and is left out.
    """
    trained = experiment.retrain.families
    baselines = (name for name in experiment.baselines.strategies if name in trained or is_baseline(name))
    return tuple(dict.fromkeys((*trained, *baselines, experiment.selection.fallback)))


def decision_rows(
    as_of_T: NDArray[np.datetime64],
    settings: PortfolioSettings,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
) -> NDArray[np.int64]:
    """Rows at which positions are decided: every ``rebalance_every`` hours, one of them at ``decision_hour``.

    The schedule hangs on the calendar, not on the panel's first row: a longer panel moves no decision. A decision lies on a row
    of the grid: where bars are shorter than an hour, on the full hour's.
    ``first`` and ``last`` (inclusive instants) bound the rows, for instance to those with forecasts.

    >>> from crossattn_core.grid import HOURLY
    >>> from datetime import date
    >>> rows = decision_rows(HOURLY.rows(date(2025, 3, 1), date(2025, 3, 3)), PortfolioSettings())
    >>> [int(row) for row in rows]
    [14, 38, 62]
    """
    since_T = as_of_T - (_EPOCH + np.timedelta64(settings.decision_hour, "h"))
    due_T = since_T % np.timedelta64(settings.rebalance_every, "h") == np.timedelta64(0, "us")
    if first is not None:
        due_T &= as_of_T >= first
    if last is not None:
        due_T &= as_of_T <= last
    return np.flatnonzero(due_T)


def decide_all(panel: Panel, forecasts: pd.DataFrame, model_weights: pd.DataFrame, experiment: Experiment) -> dict[str, Targets]:
    """Target weights of every traded strategy, from the first row with a forecast on; all decide at the same rows.

    Args:
        forecasts: out-of-sample forecasts (as_of, asset_id, family, horizon, forecast).
        model_weights: weights of the families that give weights (as_of, asset_id, family, value).

    Raises:
        NoForecastError: there is neither a forecast nor a weight.
    """
    starts = [predicted["as_of"].min() for predicted in (forecasts, model_weights) if len(predicted)]
    if not starts:
        first, last = (panel.as_of_T[[0, -1]] - np.timedelta64(1, "us")).astype("datetime64[D]")
        raise NoForecastError(
            f"no forecasts between {first} and {last}: the first model needs {experiment.retrain.minimum_days} days of history; "
            "walk forward over a longer range, or lower retrain.minimum_days"
        )
    rows_D = decision_rows(panel.as_of_T, experiment.portfolio, first=min(starts).to_datetime64())
    targets: dict[str, Targets] = {}
    for strategy in traded_strategies(experiment):
        forecast_TN = weight_TN = short_TN = None
        if not is_baseline(strategy):
            weight_TN = weight_array(model_weights, panel, strategy)
            forecast_TN = forecast_array(forecasts, panel, strategy, experiment.labels.trade_horizon)
            short_TN = short_forecast_array(forecasts, panel, strategy, experiment)
        targets[strategy] = target_weights(
            strategy, panel, forecast_TN, rows_D, experiment, past_weight_TN=weight_TN, past_short_TN=short_TN
        )
    return targets


def short_forecast_array(
    forecasts: pd.DataFrame, panel: Panel, strategy: str, experiment: Experiment
) -> NDArray[np.float32] | None:
    """(T, N) forecasts of one family over the shortest of ``labels.horizons``, NaN where there is none; None where that is the
    traded one."""
    shortest = experiment.labels.horizons[0]
    return None if shortest == experiment.labels.trade_horizon else forecast_array(forecasts, panel, strategy, shortest)


def target_weights(
    strategy: str,
    past_panel: Panel,
    past_forecast_TN: NDArray[np.floating] | None,
    rows_D: NDArray[np.int64],
    experiment: Experiment,
    *,
    past_weight_TN: NDArray[np.floating] | None = None,
    past_short_TN: NDArray[np.floating] | None = None,
) -> Targets:
    """The target weights of ``strategy`` at each decision; row d reads nothing after ``rows_D[d]``.

    Args:
        strategy: a baseline's name, or a family's.
        past_panel: the panel, to its newest row.
        past_forecast_TN: (T, N) log return over ``labels.trade_horizon`` as forecast at each row, NaN where there is
            none; only for forecast families (see ``forecast_array``).
        rows_D: decision rows, increasing (see ``decision_rows``).
        past_weight_TN: (T, N) weights that the family gives, in place of forecasts (see ``weight_array``).
        past_short_TN: (T, N) forecasts over a shorter horizon (see ``short_forecast_array``).

    Raises:
        BacktestError: a forecast family without forecasts; forecasts of another shape, or infinite up to the newest decision;
            rows that are none of the panel, or not increasing.
    """
    _check_rows(strategy, rows_D, past_panel)
    for what, past_TN in (("forecast", past_forecast_TN), ("weight", past_weight_TN), ("forecast", past_short_TN)):
        if past_TN is not None:
            _check_finite(strategy, what, past_TN, rows_D, past_panel)
    shrinkage_DN = np.empty((0, 0))
    if not len(rows_D):
        target_DN = np.empty((0, len(past_panel.asset_ids)))
    elif is_baseline(strategy):
        target_DN = BASELINES.get(strategy)(past_panel, rows_D, experiment)
    elif past_weight_TN is not None:
        target_DN = size_weights(past_panel, past_weight_TN, rows_D, experiment)
    elif past_forecast_TN is not None:
        sized = size_forecasts(past_panel, past_forecast_TN, rows_D, experiment, past_short_TN=past_short_TN)
        target_DN, shrinkage_DN = sized.target_DN, sized.shrinkage_DN
    else:
        known = ", ".join(BASELINES.names())
        raise BacktestError(f"{strategy}: no forecasts given; a strategy that is none of {known} is a forecast family")
    return Targets(strategy, past_panel.asset_ids, past_panel.as_of_T[rows_D], target_DN, shrinkage_DN)


def _check_rows(strategy: str, rows_D: NDArray[np.int64], past_panel: Panel) -> None:
    rows = len(past_panel.as_of_T)
    if not isinstance(rows_D, np.ndarray) or rows_D.ndim != 1 or rows_D.dtype.kind not in "iu":
        kind = rows_D.dtype if isinstance(rows_D, np.ndarray) else type(rows_D).__name__
        raise BacktestError(f"{strategy}: decision rows are {kind}; an array of row numbers is needed, see decision_rows")
    if len(rows_D) and not (rows_D[0] >= 0 and rows_D[-1] < rows and (np.diff(rows_D) > 0).all()):
        raise BacktestError(
            f"{strategy}: decision rows {rows_D[0]} .. {rows_D[-1]} are not increasing within the panel's 0 .. {rows - 1}"
        )


def _check_finite(strategy: str, what: str, past_TN: NDArray[np.floating], rows_D: NDArray[np.int64], past_panel: Panel) -> None:
    """Raise BacktestError for an infinity that a decision could see: it would take every asset's weight with it."""
    if not isinstance(past_TN, np.ndarray) or past_TN.dtype.kind != "f":
        kind = past_TN.dtype if isinstance(past_TN, np.ndarray) else type(past_TN).__name__
        raise BacktestError(f"{strategy}: {what}s are {kind}; an array of floats is needed, rows of the panel x assets")
    seen_TN = past_TN[: int(rows_D[-1]) + 1 if len(rows_D) else 0]
    if seen_TN.ndim == 2 and seen_TN.shape[1] == len(past_panel.asset_ids) and np.isinf(seen_TN).any():
        row, asset = np.argwhere(np.isinf(seen_TN))[0]
        raise BacktestError(
            f"{strategy}: infinite {what} of {past_panel.asset_ids[asset]} at {past_panel.as_of_T[row]} "
            f"({int(np.isinf(seen_TN).sum())} such in all); NaN is a {what} that is missing"
        )
