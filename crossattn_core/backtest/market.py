"""What the simulator trades in: prices, sessions, funding, dividends and costs, prepared once for many simulations.

Axes: T rows of the hourly grid, N assets in universe order. Money is in quote currency; rates are fractions.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.delisting import delisted_rows
from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Experiment
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.returns import log_returns

__all__ = ["HOURS_PER_YEAR", "Market", "linear_impact", "market_of", "square_root_impact"]

HOURS_PER_YEAR = 8760
"""Rows of the 24/7 hourly grid in a year: what an hourly equity curve is annualised by."""


@dataclass(frozen=True)
class Market:
    """Prices and costs by row. ``price_TN`` is 1 before an asset's first candle, when nothing can be held."""

    as_of_T: NDArray[np.datetime64]
    asset_ids: tuple[str, ...]
    price_TN: NDArray[np.float64]
    """(T, N) newest known close, carried forward: the mark of a position and the price of a fill."""
    tradable_TN: NDArray[np.bool_]
    """(T, N) whether an order could fill at the row."""
    funding_TN: NDArray[np.float64] | None
    """(T, N) funding settled in the hour up to the row, fraction of notional paid by longs; 0 where none; None: no funding."""
    fee_N: NDArray[np.float64]
    half_spread_N: NDArray[np.float64]
    slippage_N: NDArray[np.float64]
    """Three (N,) costs of a unit of traded notional."""
    borrow_N: NDArray[np.float64]
    """(N,) cost of a unit of short notional held for one hour."""
    impact_TN: NDArray[np.float64] | None = None
    """(T, N) a trade of m in money also costs this * m ^ 1.5; None: none. See ``square_root_impact``."""
    linear_impact_TN: NDArray[np.float64] | None = None
    """(T, N) a trade of m in money also costs this * m ^ 2; None: none. See ``linear_impact``."""
    dividend_TN: NDArray[np.float64] | None = None
    """(T, N) dividend of the row in quote currency per unit held into it: longs receive it, shorts pay it; 0 where there is
    none; None: no dividends. Booked on its row as cash, before the row's trades."""
    delisted_TN: NDArray[np.bool_] | None = None
    """(T, N) rows at which what is held of an asset is settled for good, whether it can trade or not (see delisting.py): its
    target is 0 there, at the row's price and the usual cost; None: never."""
    delisting_loss: float = 0.0
    """Share of a delisted position's value that is lost on its row, before the settlement: longs lose it, shorts gain it."""
    unit_impact_TN: NDArray[np.float64] | None = None
    """(T, N) the impact at a coefficient of 1, to ask what more capital would cost; None where volumes are unknown."""
    interest: float = 0.0
    """Earned in an hour by a unit of uninvested equity."""
    margin_leverage: float = 0.0
    """Gross exposure over equity at which a margin call comes; 0: never."""
    missing_funding: int = 0
    """Settlements that were due and are missing; charged as zero, and said so."""

    def __post_init__(self) -> None:
        self._check_prices()
        self._check_dividends()

    def _check_prices(self) -> None:
        bad_TN = ~(np.isfinite(self.price_TN) & (self.price_TN > 0))
        if bad_TN.any():
            row, asset = np.argwhere(bad_TN)[0]
            raise BacktestError(
                f"{self.asset_ids[asset]}: price {self.price_TN[row, asset]} at {self.as_of_T[row]} "
                f"({int(bad_TN.sum())} such in all); a price is finite and positive: "
                "mask the row as not tradable and carry the mark"
            )

    def _check_dividends(self) -> None:
        if self.dividend_TN is None:
            return
        if self.dividend_TN.shape != self.price_TN.shape:
            raise BacktestError(f"dividends have shape {self.dividend_TN.shape}, prices {self.price_TN.shape}; one value a price")
        bad_TN = ~(np.isfinite(self.dividend_TN) & (self.dividend_TN >= 0))
        if bad_TN.any():
            row, asset = np.argwhere(bad_TN)[0]
            raise BacktestError(
                f"{self.asset_ids[asset]}: dividend {self.dividend_TN[row, asset]} at {self.as_of_T[row]} "
                f"({int(bad_TN.sum())} such in all); a dividend is finite and not negative, and 0 where there is none"
            )

    @cached_property
    def trade_cost_N(self) -> NDArray[np.float64]:
        """(N,) one-way cost of a unit of traded notional."""
        return self.fee_N + self.half_spread_N + self.slippage_N

    @property
    def has_impact(self) -> bool:
        """Whether a trade moves its own price, so that its cost depends on how much money there is."""
        return self.impact_TN is not None or self.linear_impact_TN is not None

    def impact_at(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(K, N) square-root and linear impact at the rows, 0 where there is none."""
        nothing_KN = np.zeros((len(rows), len(self.asset_ids)))
        root_TN, linear_TN = self.impact_TN, self.linear_impact_TN
        return nothing_KN if root_TN is None else root_TN[rows], nothing_KN if linear_TN is None else linear_TN[rows]

    @cached_property
    def fillable_TN(self) -> NDArray[np.bool_]:
        """(T, N) whether a trade fills at the row: the asset is tradable, or it is settled because it is gone."""
        return self.tradable_TN if self.delisted_TN is None else self.tradable_TN | self.delisted_TN

    @cached_property
    def written_off_TN(self) -> NDArray[np.float64] | None:
        """(T, N) quote currency that a unit held long loses at the row because its asset is gone; None where nothing is."""
        if self.delisted_TN is None or not self.delisting_loss:
            return None
        return self.delisted_TN * self.price_TN * self.delisting_loss

    @cached_property
    def carry_paid_TN(self) -> NDArray[np.float64] | None:
        """(T, N) funding paid and value written off less dividends received since the first row by one unit held long; None
        when there is none of them."""
        flows = []
        if self.funding_TN is not None:
            flows.append(self.funding_TN * self.price_TN)
        if self.dividend_TN is not None:
            flows.append(-self.dividend_TN)
        if self.written_off_TN is not None:
            flows.append(self.written_off_TN)
        return np.cumsum(sum(flows), axis=0) if flows else None

    @cached_property
    def long_worth_TN(self) -> NDArray[np.float64]:
        """(T, N) price less the carry paid so far: what one unit, long or short, is worth apart from borrow."""
        return self.price_TN if self.carry_paid_TN is None else self.price_TN - self.carry_paid_TN

    @cached_property
    def short_worth_TN(self) -> NDArray[np.float64] | None:
        """(T, N) the same for a unit held short, whose holder also pays borrow; None when nothing is charged."""
        return None if self.borrow_paid_TN is None else self.long_worth_TN + self.borrow_paid_TN

    @cached_property
    def borrow_paid_TN(self) -> NDArray[np.float64] | None:
        """(T, N) borrow paid so far by one unit held short since the first row; None when nothing is charged."""
        if not self.borrow_N.any():
            return None
        return np.cumsum(self.price_TN * self.borrow_N, axis=0)


def market_of(panel: Panel, experiment: Experiment) -> Market:
    """The market of a panel at the experiment's costs.

    Prices are marks carried forward, which equal the trade price wherever there is one. A funding rate that the panel
    lacks is charged as zero; settlements missing from an asset that has others are counted (every 8 hours).
    """
    venues = [asset_id.split(":", 1)[0] for asset_id in panel.asset_ids]
    costs = [getattr(experiment.costs, venue) for venue in venues]
    tradable_TN = np.isfinite(panel.trade_price_TN)
    price_TN = np.where(tradable_TN, panel.trade_price_TN, panel.mark_price_TN)
    price_TN = np.where(np.isnan(price_TN), 1.0, price_TN)
    unit_impact_TN, unit_linear_TN = square_root_impact(panel, 1.0), linear_impact(panel, 1.0)
    delisted_TN = delisted_rows(panel.age_hours_TN, experiment.backtest.delisted_after_hours)
    unit_impact_TN[delisted_TN] = unit_linear_TN[delisted_TN] = 0.0  # a settlement is no order in a book
    funding_TN = None
    missing = 0
    if experiment.costs.funding and np.isfinite(panel.funding_rate_TN).any():
        funding_TN = np.nan_to_num(panel.funding_rate_TN)
    if experiment.costs.funding:
        missing = _missing_settlements(panel, {asset.asset_id for asset in experiment.assets if asset.pays_funding})
    return Market(
        as_of_T=panel.as_of_T,
        asset_ids=panel.asset_ids,
        price_TN=price_TN,
        tradable_TN=tradable_TN,
        funding_TN=funding_TN,
        dividend_TN=_dividends(panel),
        fee_N=np.array([cost.fee_bps for cost in costs]) / 1e4,
        half_spread_N=np.array([cost.half_spread_bps for cost in costs]) / 1e4,
        slippage_N=np.array([cost.slippage_bps for cost in costs]) / 1e4,
        borrow_N=np.array([cost.borrow_bps_per_year for cost in costs]) / 1e4 / HOURS_PER_YEAR,
        impact_TN=experiment.costs.impact * unit_impact_TN if experiment.costs.impact > 0 else None,
        linear_impact_TN=experiment.costs.linear_impact * unit_linear_TN if experiment.costs.linear_impact > 0 else None,
        unit_impact_TN=unit_impact_TN,
        interest=experiment.costs.interest_bps_per_year / 1e4 / HOURS_PER_YEAR,
        margin_leverage=experiment.backtest.margin_leverage,
        missing_funding=missing,
        delisted_TN=delisted_TN if delisted_TN.any() else None,
        delisting_loss=1.0 - experiment.backtest.delisting_value,
    )


def square_root_impact(panel: Panel, coefficient: float, hours: int = 168) -> NDArray[np.float64]:
    """(T, N) c * sigma / sqrt(volume), so that a trade of m moves its own price by c * sigma * sqrt(m / volume).

    ``sigma``: standard deviation of an hourly log return, ``volume``: traded value of an hour, both means over fresh candles
    of the trailing ``hours`` rows (grid hours), the row included. The law is empirical (Almgren et al., 2005, and many since).
    An asset whose volume is not known is charged as the most expensive one that is.
    """
    sigma_TN, volume_TN = _volatility_and_volume(panel, hours)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _dearest_where_unknown(coefficient * sigma_TN / np.sqrt(volume_TN))


def linear_impact(panel: Panel, coefficient: float, hours: int = 168) -> NDArray[np.float64]:
    """(T, N) c * sigma / volume, so that a trade of m moves its own price by c * sigma * m / volume (Kyle, 1985).

    ``sigma`` and ``volume`` as in ``square_root_impact``; the law for small trades and patient prices, harsher than the root
    for trades beyond an hour's volume.
    """
    sigma_TN, volume_TN = _volatility_and_volume(panel, hours)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _dearest_where_unknown(coefficient * sigma_TN / volume_TN)


def _volatility_and_volume(panel: Panel, hours: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(T, N) standard deviation of an hourly log return and traded value of an hour, over the trailing rows."""
    volume_TN = pd.DataFrame(panel.quote_volume_TN).rolling(hours, min_periods=1).mean().to_numpy()
    change = pd.DataFrame(log_returns(panel.mark_price_TN)).where(panel.is_fresh_TN)
    return np.sqrt((change**2).rolling(hours, min_periods=1).mean().to_numpy()), volume_TN


def _dearest_where_unknown(impact_TN: NDArray[np.float64]) -> NDArray[np.float64]:
    known_TN = np.isfinite(impact_TN)
    dearest_T1 = np.where(known_TN, impact_TN, 0.0).max(axis=1, keepdims=True)
    return np.where(known_TN, impact_TN, dearest_T1)


def _dividends(panel: Panel) -> NDArray[np.float64] | None:
    if panel.dividend_TN is None or not np.isfinite(panel.dividend_TN).any():
        return None
    return np.nan_to_num(panel.dividend_TN)


def _missing_settlements(panel: Panel, paying: set[str]) -> int:
    """Settlements expected at 00:00, 08:00 and 16:00 UTC of each listed perpetual that the panel does not have."""
    hour_T = panel.as_of_T.astype("datetime64[h]").astype(np.int64) % 24
    due_T = np.isin(hour_T, (0, 8, 16))
    missing = 0
    for asset, asset_id in enumerate(panel.asset_ids):
        if asset_id in paying:
            listed_T = np.isfinite(panel.mark_price_TN[:, asset])
            missing += int((due_T & listed_T & ~np.isfinite(panel.funding_rate_TN[:, asset])).sum())
    return missing
