"""Forecasts to weights, with the cost of trading inside the rule.

Each asset's weight w weighs edge * w - risk_aversion / 2 * variance * w^2 over one trade horizon against the cost of moving
from what is held. The solution is a zone in which nothing is traded; outside it, the position moves to the zone's nearer
end. Opening or adding must pay ``cost_multiple`` costs at once, so that a forecast that does not pay for its trade opens
nothing. Closing is cheaper the longer the risk would be carried on: its cost is spread over ``holding_horizons`` horizons. For
a positive edge the zone is

    [(edge - cost_multiple * cost) / (risk_aversion * variance), (edge + cost / holding_horizons) / (risk_aversion * variance)]

cut at zero from below, and the mirror image of it for a negative one. The edge is the believed share of the forecast (see
forecast_shrinkage.py), less the funding that a holder is expected to pay.

``long_short`` measures positions from zero. ``long_only`` measures them from the equal-weight share, and so falls back
to equal weight when the forecasts say nothing. The other rules (see sizing_rules.py) want what their scores say. Every rule then
meets the limits: caps by asset, sector and venue and the gross limit, expected volatility, turnover, the no-trade band.

Axes: D decisions, T rows, N assets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import CostSettings, Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.forecast_shrinkage import believed_share
from crossattn_core.portfolio.limits import Group, groups_of, project
from crossattn_core.portfolio.positions import Book
from crossattn_core.portfolio.risk import hourly_variance
from crossattn_core.portfolio.sizing_rules import COST_AWARE_RULES, direct_weights, zone
from crossattn_core.portfolio.strategies import readable
from crossattn_core.portfolio.tradability import expected_tradable
from crossattn_core.stats.returns import log_price_ratios

__all__ = ["Decisions", "Rule", "expected_carry", "forecast_decisions", "trade_cost"]

_HOURS_PER_YEAR = 8760


@dataclass(frozen=True)
class Decisions:
    """Every step from forecast to target, decision by decision: what ``explain`` shows."""

    forecast_DN: NDArray[np.float64]
    """(D, N) log return over the trade horizon, as forecast; NaN: none."""
    belief_DN: NDArray[np.float64]
    """(D, N) share of the forecasts that was believed."""
    carry_DN: NDArray[np.float64]
    """(D, N) funding that a long is expected to pay over the trade horizon."""
    edge_DN: NDArray[np.float64]
    """(D, N) belief * forecast - carry."""
    variance_DN: NDArray[np.float64]
    """(D, N) variance of a log return over the trade horizon, from trailing returns."""
    usable_DN: NDArray[np.bool_]
    """(D, N) readable, forecast, with a known risk, and its venue open at the fill."""
    held_DN: NDArray[np.float64]
    """(D, N) drifted weights as the decision saw them."""
    target_DN: NDArray[np.float64]
    """(D, N) the result; NaN: the position is left alone."""


def forecast_decisions(
    past_panel: Panel, past_forecast_TN: NDArray[np.floating], rows_D: NDArray[np.int64], experiment: Experiment
) -> Decisions:
    """Decide at each of ``rows_D`` (increasing), reading nothing after it.

    Args:
        past_panel: the panel, to its newest row.
        past_forecast_TN: log return over ``labels.trade_horizon`` as forecast at each row; NaN: no forecast, and the
            position is left alone.
        rows_D: decision rows.

    Raises:
        BacktestError: the forecasts do not match the panel, or a cap names a group that does not exist.
    """
    rows, assets = past_panel.mark_price_TN.shape
    if past_forecast_TN.shape != (rows, assets):
        raise BacktestError(
            f"forecasts have shape {past_forecast_TN.shape}, the panel {(rows, assets)}; align them by as_of and asset_id"
        )
    settings, labels = experiment.portfolio, experiment.labels
    variance_DN = hourly_variance(past_panel.mark_price_TN, rows_D, settings.volatility_hours) * labels.trade_horizon
    forecast_DN = past_forecast_TN[rows_D].astype(np.float64)
    belief_DN = believed_share(
        forecast_DN,
        past_panel.mark_price_TN,
        past_panel.is_tradable_TN,
        np.sqrt(variance_DN),
        rows_D,
        execution_lag=labels.execution_lag,
        horizon=labels.trade_horizon,
        settings=settings,
    )
    carry_DN = np.zeros(forecast_DN.shape)
    if experiment.costs.funding:
        carry_DN = expected_carry(past_panel.funding_rate_TN, rows_D, settings.carry_hours) * labels.trade_horizon
    edge_DN = belief_DN * forecast_DN - carry_DN
    readable_DN = readable(past_panel, rows_D, experiment)
    usable_DN = readable_DN & np.isfinite(edge_DN) & np.isfinite(variance_DN)
    usable_DN &= expected_tradable(experiment, past_panel.as_of_T[rows_D] + labels.execution_lag * np.timedelta64(1, "h"))
    rule = Rule(experiment, trade_cost(past_panel.asset_ids, experiment.costs), groups_of(experiment), past_panel.mark_price_TN)
    book = Book(past_panel, experiment)
    held_DN, target_DN = np.zeros((2, len(rows_D), assets))
    for decision, row in enumerate(rows_D):
        held_DN[decision] = book.held_at(int(row))
        target_DN[decision] = rule.decide(
            int(row),
            edge_DN[decision],
            variance_DN[decision],
            usable_DN[decision],
            held_DN[decision],
            book.entered_N,
            readable_assets=int(readable_DN[decision].sum()),
        )
        book.order(int(row), target_DN[decision])
    return Decisions(forecast_DN, belief_DN, carry_DN, edge_DN, variance_DN, usable_DN, held_DN, target_DN)


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
class Rule:
    """What is done with an edge, or with a weight that was wanted."""

    experiment: Experiment
    cost_N: NDArray[np.float64]
    groups: tuple[Group, ...]
    past_mark_TN: NDArray[np.float64]

    def decide(
        self,
        row: int,
        edge_N: NDArray[np.float64],
        variance_N: NDArray[np.float64],
        usable_N: NDArray[np.bool_],
        held_N: NDArray[np.float64],
        entered_N: NDArray[np.bool_],
        *,
        readable_assets: int,
    ) -> NDArray[np.float64]:
        settings = self.experiment.portfolio
        long_only = settings.rule in ("long_only", "softmax")
        gross = min(1.0, settings.gross) if long_only else settings.gross
        wanted_N = held_N.copy()
        if settings.rule in COST_AWARE_RULES:
            anchor = gross / max(readable_assets, 1) if long_only else 0.0
            low_N, high_N = zone(edge_N[usable_N], variance_N[usable_N], self.cost_N[usable_N], settings)
            # A position that was never opened has no history to protect: it starts from the anchor.
            from_N = np.where(entered_N, held_N, anchor)[usable_N]
            wanted_N[usable_N] = np.clip(from_N, anchor + low_N, anchor + high_N)
        else:
            wanted_N[usable_N] = direct_weights(edge_N[usable_N], variance_N[usable_N], settings)
        if long_only:
            wanted_N[usable_N] = np.maximum(wanted_N[usable_N], 0.0)
        return self.limited(row, wanted_N, usable_N, held_N, gross)

    def limited(
        self,
        row: int,
        wanted_N: NDArray[np.float64],
        usable_N: NDArray[np.bool_],
        held_N: NDArray[np.float64],
        gross: float,
    ) -> NDArray[np.float64]:
        """The weights to trade to, once every limit and the no-trade band have spoken; NaN: the position is left alone."""
        settings = self.experiment.portfolio
        wanted_N = np.where(usable_N, wanted_N * self._to_target(row, wanted_N), wanted_N)
        # What cannot be read or traded stays as it is, and the rest shares what it leaves of each limit.
        limited_N = held_N.copy()
        free = [
            Group(group.name, group.members_N[usable_N], max(group.cap - np.abs(held_N[group.members_N & ~usable_N]).sum(), 0.0))
            for group in self.groups
            if (group.members_N & usable_N).any()
        ]
        left = max(gross - np.abs(held_N[~usable_N]).sum(), 0.0)
        cap_N = np.full(int(usable_N.sum()), settings.max_weight)
        limited_N[usable_N] = project(wanted_N[usable_N], cap_N, left, free)
        limited_N[usable_N] *= self._calmer(row, limited_N)
        # The band yields to a limit: a position over its cap or over the gross limit is cut even by little.
        over_limit = np.abs(held_N).sum() > gross * (1 + settings.no_trade_band)
        small_N = (np.abs(limited_N - held_N) < settings.no_trade_band) & (np.abs(held_N) <= settings.max_weight)
        stay_N = ~usable_N | (small_N & ~over_limit)
        step_N = np.where(stay_N, 0.0, settings.trade_share * (limited_N - held_N))
        if settings.turnover_limit > 0:
            step_N *= min(1.0, settings.turnover_limit / max(float(np.abs(step_N).sum()), 1e-300))
        return np.where(stay_N, np.nan, held_N + step_N)

    def _calmer(self, row: int, weight_N: NDArray[np.float64]) -> float:
        """The largest multiple, at most 1, at which trailing returns keep the volatility limit."""
        limit = self.experiment.portfolio.volatility_limit
        expected = self._expected_volatility(row, weight_N) if limit > 0 else 0.0
        return min(1.0, limit / expected) if expected > 0 else 1.0

    def _to_target(self, row: int, weight_N: NDArray[np.float64]) -> float:
        """The multiple at which trailing returns give the volatility target; 1 without a target or a risk to scale."""
        target = self.experiment.portfolio.volatility_target
        expected = self._expected_volatility(row, weight_N) if target > 0 else 0.0
        return target / expected if expected > 0 else 1.0

    def _expected_volatility(self, row: int, weight_N: NDArray[np.float64]) -> float:
        """Annual volatility that these weights had over the trailing window."""
        settings = self.experiment.portfolio
        window = slice(max(0, row - settings.volatility_hours), row + 1)
        portfolio_T = (np.nan_to_num(log_price_ratios(self.past_mark_TN[window])[1:]) * weight_N).sum(axis=1)
        return float(np.sqrt((portfolio_T**2).mean() * _HOURS_PER_YEAR)) if len(portfolio_T) else 0.0
