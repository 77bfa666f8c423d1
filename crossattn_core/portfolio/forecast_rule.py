"""Forecasts to weights, with the cost of trading inside the rule.

Each asset's weight w weighs edge * w - risk_aversion / 2 * variance * w^2 over one trade horizon against the cost of moving
from what is held. The solution is a zone in which nothing is traded; outside it, the position moves to the zone's nearer
end. Opening or adding must pay ``cost_multiple`` costs at once, so that a forecast that does not pay for its trade opens
nothing. Closing is cheaper the longer the risk would be carried on: its cost is spread over ``exit_patience`` horizons. For
a positive edge the zone is

    [(edge - cost_multiple * cost) / (risk_aversion * variance), (edge + cost / exit_patience) / (risk_aversion * variance)]

cut at zero from below, and the mirror image of it for a negative one. The edge is the believed share of the forecast (see
belief.py), less the funding that a holder is expected to pay.

``long_short`` measures positions from zero. ``long_only`` measures them from the equal-weight share, and so falls back
to equal weight when the forecasts say nothing. Axes: D decisions, T rows, N assets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import CostSettings, Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.baselines import readable
from crossattn_core.portfolio.belief import believed_share
from crossattn_core.portfolio.book import Book
from crossattn_core.portfolio.limits import project
from crossattn_core.portfolio.risk import hourly_variance
from crossattn_core.portfolio.sessions import expected_tradable

__all__ = ["expected_carry", "forecast_weights", "trade_cost"]


def forecast_weights(
    past_panel: Panel, past_forecast_TN: NDArray[np.floating], rows_D: NDArray[np.int64], experiment: Experiment
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Target weights (D, N), NaN where the position is left alone, and the believed share (D,).

    Args:
        past_panel: the panel; only rows at or before each decision are read.
        past_forecast_TN: log return over ``labels.trade_horizon`` as forecast at each row; NaN: no forecast, and the
            position is left alone.
        rows_D: decision rows, increasing.

    Raises:
        BacktestError: the forecasts do not match the panel.
    """
    rows, assets = past_panel.mark_price_TN.shape
    if past_forecast_TN.shape != (rows, assets):
        raise BacktestError(
            f"forecasts have shape {past_forecast_TN.shape}, the panel {(rows, assets)}; align them by as_of and asset_id"
        )
    settings, labels = experiment.portfolio, experiment.labels
    variance_DN = hourly_variance(past_panel.mark_price_TN, rows_D, settings.volatility_hours) * labels.trade_horizon
    forecast_DN = past_forecast_TN[rows_D].astype(np.float64)
    belief_D = believed_share(
        forecast_DN,
        past_panel.mark_price_TN,
        past_panel.is_tradable_TN,
        np.sqrt(variance_DN),
        rows_D,
        execution_lag=labels.execution_lag,
        horizon=labels.trade_horizon,
        settings=settings,
    )
    edge_DN = belief_D[:, None] * forecast_DN
    if experiment.costs.funding:
        edge_DN = edge_DN - expected_carry(past_panel.funding_rate_TN, rows_D, settings.carry_hours) * labels.trade_horizon
    readable_DN = readable(past_panel, rows_D, experiment)
    usable_DN = readable_DN & np.isfinite(edge_DN) & np.isfinite(variance_DN)
    usable_DN &= expected_tradable(experiment, past_panel.as_of_T[rows_D] + labels.execution_lag * np.timedelta64(1, "h"))
    cost_N = trade_cost(past_panel.asset_ids, experiment.costs)
    rule = _Rule(experiment, cost_N, np.full(assets, settings.max_weight))
    book = Book(past_panel, labels.execution_lag)
    target_DN = np.full((len(rows_D), assets), np.nan)
    for decision, row in enumerate(rows_D):
        held_N = book.held_at(int(row))
        target_DN[decision] = rule.decide(
            edge_DN[decision],
            variance_DN[decision],
            usable_DN[decision],
            held_N,
            book.entered_N,
            readable_assets=int(readable_DN[decision].sum()),
        )
        book.order(int(row), target_DN[decision])
    return target_DN, belief_D


def trade_cost(asset_ids: tuple[str, ...], costs: CostSettings) -> NDArray[np.float64]:
    """(N,) one-way cost of a unit of traded notional, as a fraction."""
    return np.array([getattr(costs, asset_id.split(":", 1)[0]).trade_bps / 1e4 for asset_id in asset_ids])


def expected_carry(past_funding_TN: NDArray[np.float64], rows_D: NDArray[np.int64], hours: int) -> NDArray[np.float64]:
    """(D, N) funding per hour that a long is expected to pay: the mean over the trailing ``hours`` rows."""
    paid_TN = np.nan_to_num(past_funding_TN)
    carry_DN = np.zeros((len(rows_D), paid_TN.shape[1]))
    for decision, row in enumerate(rows_D):
        window = paid_TN[max(0, row + 1 - hours) : row + 1]
        carry_DN[decision] = window.sum(axis=0) / hours
    return carry_DN


@dataclass(frozen=True)
class _Rule:
    experiment: Experiment
    cost_N: NDArray[np.float64]
    cap_N: NDArray[np.float64]

    def _zone(self, edge_N: NDArray[np.float64], risk_N: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bounds between which a position stays, as distances from the anchor; zero edge keeps zero inside."""
        open_N = self.cost_N * self.experiment.portfolio.cost_multiple
        close_N = self.cost_N / self.experiment.portfolio.exit_patience
        low_N = np.maximum((edge_N - open_N) / risk_N, np.minimum(0.0, (edge_N - close_N) / risk_N))
        high_N = np.minimum((edge_N + open_N) / risk_N, np.maximum(0.0, (edge_N + close_N) / risk_N))
        return np.minimum(low_N, high_N), np.maximum(low_N, high_N)

    def decide(
        self,
        edge_N: NDArray[np.float64],
        variance_N: NDArray[np.float64],
        usable_N: NDArray[np.bool_],
        held_N: NDArray[np.float64],
        entered_N: NDArray[np.bool_],
        *,
        readable_assets: int,
    ) -> NDArray[np.float64]:
        settings = self.experiment.portfolio
        long_only = settings.rule == "long_only"
        gross = min(1.0, settings.gross) if long_only else settings.gross
        anchor_N = np.full(len(held_N), gross / max(readable_assets, 1) if long_only else 0.0)
        risk_N = settings.risk_aversion * np.where(usable_N, variance_N, 1.0)
        edge_N = np.where(usable_N, edge_N, 0.0)
        # A position that was never opened has no history to protect: it starts from the anchor.
        from_N = np.where(entered_N, held_N, anchor_N)
        low_N, high_N = self._zone(edge_N, risk_N)
        wanted_N = np.clip(from_N, anchor_N + low_N, anchor_N + high_N)
        if long_only:
            wanted_N = np.maximum(wanted_N, 0.0)
        # What cannot be read or traded stays as it is, and the rest shares what it leaves of the gross limit.
        limited_N = held_N.copy()
        left = max(gross - np.abs(held_N[~usable_N]).sum(), 0.0)
        limited_N[usable_N] = project(wanted_N[usable_N], self.cap_N[usable_N], left)
        # The band yields to a limit: a position over its cap or over the gross limit is cut even by little.
        over_limit = np.abs(held_N).sum() > gross * (1 + settings.no_trade_band)
        small_N = (np.abs(limited_N - held_N) < settings.no_trade_band) & (np.abs(held_N) <= self.cap_N)
        stay_N = ~usable_N | (small_N & ~over_limit)
        return np.where(stay_N, np.nan, limited_N)
