"""Forecasts to target weights: forecast -> edge -> unconstrained weights -> limits -> no-trade band.

The edge is the forecast times its shrinkage (see forecast_shrinkage.py), less the funding that a long is expected to pay. Where
the shrinkage is 0 there is no edge: funding is a cost of positions that forecasts call for, and no reason for one.

``long_short`` and ``long_only`` have the cost of trading inside. Each asset's weight w weighs
edge * w - risk_aversion / 2 * variance * w^2 over one trade horizon against the cost of moving from what is held. The solution
is a zone in which nothing is traded; outside it, the position moves to the zone's nearer end. Opening or adding must pay
``cost_multiple`` costs at once, so that a forecast that does not pay for its trade opens nothing. Closing is cheaper the longer
the risk would be carried on: its cost is spread over ``holding_horizons`` horizons. For a positive edge the zone is

    [(edge - cost_multiple * cost) / (risk_aversion * variance), (edge + cost / holding_horizons) / (risk_aversion * variance)]

cut at zero from below, and the mirror image of it for a negative one. ``long_short`` measures positions from zero, and closes
those whose shrinkage is 0 whatever the zone and the no-trade band: no later forecast is expected to want them. ``long_only``
measures them from the equal-weight share, and so falls back to equal weight when the forecasts are about zero.

``softmax``, ``tanh`` and ``rank`` follow scores = edge / standard deviation, whatever it costs to get there.

A family whose head gives weights starts at the unconstrained weights: it was trained on what they earn net of turnover.

Axes: D decisions, T rows, N assets.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import CostSettings, Experiment, PortfolioSettings
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.forecast_shrinkage import forecast_shrinkage
from crossattn_core.portfolio.limits import Group, groups_of, project_free
from crossattn_core.portfolio.positions import Positions
from crossattn_core.portfolio.realised_slope import RealisedSlope, realised_slope
from crossattn_core.portfolio.risk import annual_volatility, bar_variance
from crossattn_core.portfolio.tradability import open_at_fill, readable

__all__ = [
    "COST_AWARE_RULES",
    "SizedForecasts",
    "expected_carry",
    "no_trade_zone",
    "score_weights",
    "size_forecasts",
    "size_weights",
    "trade_cost",
]

COST_AWARE_RULES = ("long_short", "long_only")
"""Values of ``portfolio.rule`` with the cost of trading inside."""


@dataclass(frozen=True)
class SizedForecasts:
    """Every step from forecast to target, decision by decision: what ``explain`` shows."""

    forecast_DN: NDArray[np.float64]
    """(D, N) log return over the trade horizon, as forecast; NaN: none."""
    shrinkage_DN: NDArray[np.float64]
    """(D, N) factor in [0, 1] that the forecasts are multiplied by."""
    carry_DN: NDArray[np.float64]
    """(D, N) funding that a long is expected to pay over the trade horizon."""
    edge_DN: NDArray[np.float64]
    """(D, N) shrinkage * forecast - carry; 0 where the shrinkage is 0."""
    variance_DN: NDArray[np.float64]
    """(D, N) variance of a log return over the trade horizon, from trailing returns."""
    usable_DN: NDArray[np.bool_]
    """(D, N) readable, forecast, with a known risk, and its venue open at the fill."""
    held_DN: NDArray[np.float64]
    """(D, N) drifted weights before the decision."""
    target_DN: NDArray[np.float64]
    """(D, N) the result; NaN: the position is left alone."""


def size_forecasts(
    past_panel: Panel,
    past_forecast_TN: NDArray[np.floating],
    rows_D: NDArray[np.int64],
    experiment: Experiment,
    *,
    past_short_TN: NDArray[np.floating] | None = None,
) -> SizedForecasts:
    """Decide at each of ``rows_D`` (increasing), reading nothing after it.

    Args:
        past_forecast_TN: log return over ``labels.trade_horizon`` as forecast at each row of the panel; NaN: none, and the
            position is left alone.
        past_short_TN: the same over the shortest of ``labels.horizons``, where that is another: it is not traded, but says
            sooner what the family is worth.

    Raises:
        BacktestError: the forecasts do not match the panel, or a cap names a group that does not exist.
    """
    for forecasts_TN in (past_forecast_TN, past_short_TN):
        if forecasts_TN is not None:
            _check_shape("forecasts", forecasts_TN, past_panel)
    settings, labels = experiment.portfolio, experiment.labels
    long_only = settings.rule in ("long_only", "softmax")
    gross = min(1.0, settings.gross) if long_only else settings.gross
    cost_N = trade_cost(past_panel.asset_ids, experiment.costs)
    grid = past_panel.grid
    bar_variance_DN = bar_variance(past_panel.mark_price_TN, rows_D, grid.bars(settings.volatility_hours))
    variance_DN = bar_variance_DN * labels.trade_horizon
    forecast_DN = past_forecast_TN[rows_D].astype(np.float64)

    def realised(forecasts_TN: NDArray[np.floating], horizon: int) -> RealisedSlope:
        return realised_slope(
            forecasts_TN,
            past_panel.mark_price_TN,
            past_panel.is_tradable_TN,
            np.sqrt(bar_variance_DN),
            rows_D,
            execution_lag=labels.execution_lag,
            horizon=horizon,
            half_life_bars=settings.skill_half_life_days * grid.bars_per_day,
        )

    shrinkage_DN = forecast_shrinkage(
        realised(past_forecast_TN, labels.trade_horizon),
        settings,
        short=None if past_short_TN is None else realised(past_short_TN, labels.horizons[0]),
    )
    carry_DN = np.zeros(forecast_DN.shape)
    if experiment.costs.funding:
        carry_DN = expected_carry(past_panel.funding_rate_TN, rows_D, grid.bars(settings.carry_hours)) * labels.trade_horizon
    edge_DN = np.where(shrinkage_DN > 0, shrinkage_DN * forecast_DN - carry_DN, 0.0 * forecast_DN)
    closed_DN = (shrinkage_DN == 0) & (not long_only)
    readable_DN = readable(past_panel, rows_D, experiment)
    usable_DN = readable_DN & np.isfinite(edge_DN) & np.isfinite(variance_DN) & open_at_fill(past_panel, rows_D, experiment)

    def unconstrained(decision: int, held_N: NDArray[np.float64], filled_N: NDArray[np.bool_]) -> NDArray[np.float64]:
        usable_N = usable_DN[decision]
        edge_N, variance_N = edge_DN[decision, usable_N], variance_DN[decision, usable_N]
        weight_N = held_N.copy()
        if settings.rule in COST_AWARE_RULES:
            anchor = gross / max(int(readable_DN[decision].sum()), 1) if long_only else 0.0
            low_N, high_N = no_trade_zone(edge_N, variance_N, cost_N[usable_N], settings)
            # A position that was never opened has no history to protect: it starts from the anchor.
            from_N = np.where(filled_N, held_N, anchor)[usable_N]
            weight_N[usable_N] = np.clip(from_N, anchor + low_N, anchor + high_N)
            weight_N[usable_N & closed_DN[decision]] = 0.0
        else:
            weight_N[usable_N] = score_weights(edge_N, variance_N, settings)
        if long_only:
            weight_N[usable_N] = np.maximum(weight_N[usable_N], 0.0)
        return weight_N

    held_DN, target_DN = _decide(past_panel, rows_D, usable_DN, gross, experiment, unconstrained, closed_DN)
    return SizedForecasts(forecast_DN, shrinkage_DN, carry_DN, edge_DN, variance_DN, usable_DN, held_DN, target_DN)


def size_weights(
    past_panel: Panel, past_weight_TN: NDArray[np.floating], rows_D: NDArray[np.int64], experiment: Experiment
) -> NDArray[np.float64]:
    """(D, N) target weights of a family that gives weights itself; row d reads nothing after ``rows_D[d]``.

    ``past_weight_TN``: share of equity that the model gives at each row of the panel, at most ``portfolio.gross`` in all; NaN:
    none, and the position is left alone.

    Raises:
        BacktestError: the weights do not match the panel, or a cap names a group that does not exist.
    """
    _check_shape("model weights", past_weight_TN, past_panel)
    usable_DN = readable(past_panel, rows_D, experiment) & np.isfinite(past_weight_TN[rows_D])
    usable_DN &= open_at_fill(past_panel, rows_D, experiment)

    def unconstrained(decision: int, held_N: NDArray[np.float64], filled_N: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where(usable_DN[decision], past_weight_TN[rows_D[decision]].astype(np.float64), held_N)

    return _decide(past_panel, rows_D, usable_DN, experiment.portfolio.gross, experiment, unconstrained)[1]


def trade_cost(asset_ids: tuple[str, ...], costs: CostSettings) -> NDArray[np.float64]:
    """(N,) one-way cost of a unit of traded notional, as a fraction."""
    return np.array([costs.of(asset_id.split(":", 1)[0]).trade_bps / 1e4 for asset_id in asset_ids])


def expected_carry(past_funding_TN: NDArray[np.float64], rows_D: NDArray[np.int64], bars: int) -> NDArray[np.float64]:
    """(D, N) funding per bar that a long is expected to pay: the mean over the trailing ``bars`` rows."""
    paid_TN = np.nan_to_num(past_funding_TN)
    carry_DN = np.zeros((len(rows_D), paid_TN.shape[1]))
    for decision, row in enumerate(rows_D):
        window = paid_TN[max(0, row + 1 - bars) : row + 1]
        carry_DN[decision] = window.sum(axis=0) / bars
    return carry_DN


def no_trade_zone(
    edge_N: NDArray[np.float64], variance_N: NDArray[np.float64], cost_N: NDArray[np.float64], settings: PortfolioSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(low_N, high_N) between which a position stays, as distances from the anchor; a zero edge keeps zero inside."""
    risk_N = settings.risk_aversion * variance_N
    open_N, close_N = cost_N * settings.cost_multiple, cost_N / settings.holding_horizons
    low_N = np.maximum((edge_N - open_N) / risk_N, np.minimum(0.0, (edge_N - close_N) / risk_N))
    high_N = np.minimum((edge_N + open_N) / risk_N, np.maximum(0.0, (edge_N + close_N) / risk_N))
    return np.minimum(low_N, high_N), np.maximum(low_N, high_N)


def score_weights(
    edge_N: NDArray[np.float64], variance_N: NDArray[np.float64], settings: PortfolioSettings
) -> NDArray[np.float64]:
    """(N,) unconstrained weights of ``softmax``, ``tanh`` or ``rank`` over the usable assets; an edge of exactly 0 is no view.

    softmax: long only, fully invested (up to 1), shares in proportion to exp(score / temperature).
    tanh: tanh(score / temperature), scaled to the gross limit where it exceeds it, the views centred first if dollar-neutral.
    rank: the best ``bucket_share`` of assets long, the worst short, equal sizes, at the gross limit where there are enough views.
    """
    assets = len(edge_N)
    if not assets:
        return np.zeros(0)
    score_N = edge_N / np.sqrt(variance_N)
    if settings.rule == "softmax":
        power_N = np.exp((score_N - score_N.max()) / settings.temperature)
        return min(1.0, settings.gross) * power_N / power_N.sum()
    if settings.rule == "rank":
        bucket = max(1, int(settings.bucket_share * assets))
        view = np.flatnonzero(score_N)
        order, filled = view[np.argsort(score_N[view], kind="stable")], min(bucket, len(view) // 2)
        weight_N = np.zeros(assets)
        if filled and assets >= 2 * bucket:
            weight_N[order[-filled:]] = settings.gross / (2 * bucket)
            weight_N[order[:filled]] = -settings.gross / (2 * bucket)
        return weight_N
    weight_N = np.tanh(score_N / settings.temperature)
    if settings.dollar_neutral:
        view_N = score_N != 0
        weight_N = np.where(view_N, weight_N - weight_N.sum() / max(int(view_N.sum()), 1), 0.0)
    return weight_N * min(1.0, settings.gross / max(float(np.abs(weight_N).sum()), 1e-300))


def _decide(
    past_panel: Panel,
    rows_D: NDArray[np.int64],
    usable_DN: NDArray[np.bool_],
    gross: float,
    experiment: Experiment,
    unconstrained: Callable[[int, NDArray[np.float64], NDArray[np.bool_]], NDArray[np.float64]],
    closed_DN: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(held_DN, target_DN), where ``unconstrained(decision, held_N, filled_N)`` gives the weights before limits and ``closed_DN``
    says which positions no band keeps."""
    settings, groups = experiment.portfolio, groups_of(experiment)
    window = past_panel.grid.bars(settings.volatility_hours)
    positions = Positions(past_panel, experiment)
    held_DN, target_DN = np.zeros(usable_DN.shape), np.zeros(usable_DN.shape)
    for decision, row in enumerate(rows_D.tolist()):
        held_N = held_DN[decision] = positions.weights_at(row)
        weight_N = unconstrained(decision, held_N, positions.filled_N)
        trailing_TN = past_panel.mark_price_TN[max(0, row - window) : row + 1]
        kept_N = np.ones(len(held_N), dtype=bool) if closed_DN is None else ~closed_DN[decision] | (held_N == 0)
        usable_N = usable_DN[decision]
        target_DN[decision] = _constrained(weight_N, usable_N, kept_N, held_N, trailing_TN, gross, groups, experiment)
        positions.order(row, target_DN[decision])
    return held_DN, target_DN


def _constrained(
    weight_N: NDArray[np.float64],
    usable_N: NDArray[np.bool_],
    kept_N: NDArray[np.bool_],
    held_N: NDArray[np.float64],
    trailing_mark_TN: NDArray[np.float64],
    gross: float,
    groups: tuple[Group, ...],
    experiment: Experiment,
) -> NDArray[np.float64]:
    """The weights to trade to, after volatility target, limits, no-trade band and turnover limit; NaN: left alone.

    ``kept_N``: where the no-trade band holds."""
    settings, bars_per_year = experiment.portfolio, experiment.grid.bars_per_year
    if settings.volatility_target > 0:
        expected = annual_volatility(trailing_mark_TN, weight_N, bars_per_year)
        weight_N = np.where(usable_N, weight_N * (settings.volatility_target / expected if expected > 0 else 1.0), weight_N)
    limited_N = project_free(weight_N, held_N, usable_N, settings.max_weight, gross, groups)
    if settings.volatility_limit > 0:
        expected = annual_volatility(trailing_mark_TN, limited_N, bars_per_year)
        limited_N[usable_N] *= min(1.0, settings.volatility_limit / expected) if expected > 0 else 1.0
    # The band yields to a limit: a position over its cap or over the gross limit is cut even by little.
    over_limit = np.abs(held_N).sum() > gross * (1 + settings.no_trade_band)
    small_N = (np.abs(limited_N - held_N) < settings.no_trade_band) & (np.abs(held_N) <= settings.max_weight) & kept_N
    stay_N = ~usable_N | (small_N & ~over_limit)
    step_N = np.where(stay_N, 0.0, settings.trade_share * (limited_N - held_N))
    if settings.turnover_limit > 0:
        step_N *= min(1.0, settings.turnover_limit / max(float(np.abs(step_N).sum()), 1e-300))
    return np.where(stay_N, np.nan, held_N + step_N)


def _check_shape(what: str, value_TN: NDArray[np.floating], panel: Panel) -> None:
    if value_TN.shape != panel.mark_price_TN.shape:
        raise BacktestError(
            f"{what} have shape {value_TN.shape}, the panel {panel.mark_price_TN.shape}; align them by as_of and asset_id"
        )
