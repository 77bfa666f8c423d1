"""What the simulator trades in: prices, sessions and costs, prepared once for many simulations.

Axes: T rows of the grid, N assets in universe order. Money is in quote currency; rates are fractions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.backtest.costs.holding import missing_settlements
from crossattn_core.backtest.costs.registry import COSTS, CarryingCost, CashCost, Cost, CostInputs, ImpactCost, NotionalCost
from crossattn_core.backtest.costs.trading import Fee, SquareRootImpact
from crossattn_core.backtest.delisting import delisted_rows
from crossattn_core.errors import BacktestError
from crossattn_core.experiment import BacktestSettings, CostSettings
from crossattn_core.grid import HOURLY, Grid, bar_names
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.frames import frame_axes
from crossattn_core.universe import Asset

__all__ = ["Market", "market_of"]

Charged = TypeVar("Charged", bound=Cost)


@dataclass(frozen=True)
class Market:
    """Prices and costs by row. ``price_TN`` is 1 before an asset's first candle, when nothing can be held."""

    as_of_T: NDArray[np.datetime64]
    asset_ids: tuple[str, ...]
    price_TN: NDArray[np.float64]
    """(T, N) newest known close, carried forward: the mark of a position and the price of a fill."""
    tradable_TN: NDArray[np.bool_]
    """(T, N) whether an order could fill at the row."""
    costs: tuple[Cost, ...] = ()
    """What is charged, in any order, one of a class (see ``costs``)."""
    delisted_TN: NDArray[np.bool_] | None = None
    """(T, N) rows at which what is held of an asset is settled for good, whether it can trade or not (see delisting.py): its
    target is 0 there, at the row's price and the usual cost; None: never."""
    unit_impact: SquareRootImpact | None = None
    """Square-root impact at a coefficient of 1: what more capital would cost; None where volumes are unknown."""
    margin_leverage: float = 0.0
    """Gross exposure over equity at which a margin call comes; 0: never."""
    missing_funding: int = 0
    """Settlements that were due and are missing; charged as zero, and counted in the report."""
    grid: Grid = HOURLY
    """The grid whose rows these are."""

    def __post_init__(self) -> None:
        self._check_axes()
        bad_TN = ~(np.isfinite(self.price_TN) & (self.price_TN > 0))
        if bad_TN.any():
            row, asset = np.argwhere(bad_TN)[0]
            raise BacktestError(
                f"{self.asset_ids[asset]}: price {self.price_TN[row, asset]} at {self.as_of_T[row]} "
                f"({int(bad_TN.sum())} such in all); a price is finite and positive: "
                "mask the row as not tradable and carry the mark"
            )
        for cost in self.costs:
            if not isinstance(cost, Cost):
                raise BacktestError(f"{cost!r} among the costs is none: give an object of a class of backtest/costs")
            cost.check(self.as_of_T, self.asset_ids)
        rebated_N = self.trade_cost_N < 0
        if rebated_N.any():
            asset = int(np.argmax(rebated_N))
            raise BacktestError(
                f"{self.asset_ids[asset]}: fee, spread and slippage sum to {self.trade_cost_N[asset] * 1e4:g} bps "
                f"({int(rebated_N.sum())} such in all); a rebate may lower what a trade costs, but trading never earns money"
            )

    def _check_axes(self) -> None:
        """Raise BacktestError unless every array has its axes and kind, and rows follow each other."""
        needed, as_of_T = (len(self.as_of_T), len(self.asset_ids)), np.asarray(self.as_of_T)
        if as_of_T.dtype.kind != "M":
            raise BacktestError(f"the market's rows are {as_of_T.dtype}; as_of_T is naive UTC datetime64")
        if not (as_of_T[1:] > as_of_T[:-1]).all():
            raise BacktestError("the market's rows are not in increasing order of time; sort them by as_of, each once")
        for name, kinds in (("price_TN", "fiu"), ("tradable_TN", "b"), ("delisted_TN", "b")):
            given = getattr(self, name)
            if given is None and name == "delisted_TN":
                continue
            if not isinstance(given, np.ndarray) or given.shape != needed or given.dtype.kind not in kinds:
                found = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
                kind = "bool" if kinds == "b" else "numbers"
                raise BacktestError(f"{name} is {found}; an array of {kind} {needed} is needed: rows of as_of_T x assets")
        if not self.margin_leverage >= 0:
            raise BacktestError(f"margin_leverage is {self.margin_leverage}; it is gross exposure over equity, 0: no calls")

    @classmethod
    def of_frame(cls, close: pd.DataFrame, cost_bps: float = 0.0) -> Self:
        """The market of a frame of closes: a row a bar, at its end, a column an asset. Without a time zone it is UTC.

        Where a close is NaN the asset does not trade and keeps its newest mark; nothing is ever delisted. Further costs by
        ``with_costs``.

        Args:
            cost_bps: one-way cost of a trade, basis points of what is traded.

        Raises:
            BacktestError: as ``frame_axes``; rows that are not all one bar apart; a price that is not positive.
        """
        as_of_T, asset_ids, close_TN = frame_axes(close, "closes")
        step_T = np.diff(as_of_T)
        if not len(step_T) or (step_T != step_T[0]).any():
            uneven = int((step_T != step_T.min()).sum()) if len(step_T) else 0
            raise BacktestError(
                f"closes: {len(as_of_T)} rows, {uneven} of them after a gap; rows are one bar apart, two at least: "
                "close.asfreq gives the missing ones as NaN, at which nothing trades"
            )
        if step_T[0].item() not in {Grid(bar=bar).step for bar in bar_names()}:
            raise BacktestError(f"closes: rows are {step_T[0].item()} apart; a bar is one of {', '.join(bar_names())}: resample")
        return cls(
            as_of_T=as_of_T,
            asset_ids=asset_ids,
            price_TN=pd.DataFrame(close_TN).ffill().fillna(1.0).to_numpy(),
            tradable_TN=~np.isnan(close_TN),
            costs=(Fee(np.full(len(asset_ids), cost_bps / 1e4)),),
            grid=Grid.of(step_T[0].item()),
        )

    def with_costs(self, *costs: Cost) -> Self:
        """The same market with ``costs``, each in place of the one of its class."""
        kept = tuple(cost for cost in self.costs if type(cost) not in {type(new) for new in costs})
        return replace(self, costs=(*kept, *costs))

    def without_costs(self, *kinds: type[Cost]) -> Self:
        """The same market without the costs of these kinds."""
        return replace(self, costs=tuple(cost for cost in self.costs if not isinstance(cost, kinds)))

    def charged(self, kind: type[Charged]) -> tuple[Charged, ...]:
        """The costs of one kind, in the account's order."""
        return tuple(sorted((cost for cost in self.costs if isinstance(cost, kind)), key=lambda cost: (cost.order, cost.line)))

    @cached_property
    def trade_cost_N(self) -> NDArray[np.float64]:
        """(N,) one-way cost of a unit of traded notional, impact apart."""
        return sum((cost.rate_N for cost in self.charged(NotionalCost)), np.zeros(len(self.asset_ids)))

    @cached_property
    def impacts(self) -> tuple[ImpactCost, ...]:
        """What makes the cost of a trade depend on how much money there is."""
        return self.charged(ImpactCost)

    @cached_property
    def fillable_TN(self) -> NDArray[np.bool_]:
        """(T, N) whether a trade fills at the row: the asset is tradable, or it is settled because it is gone."""
        return self.tradable_TN if self.delisted_TN is None else self.tradable_TN | self.delisted_TN

    @cached_property
    def carry_paid_TN(self) -> NDArray[np.float64] | None:
        """(T, N) what a unit held long has paid since the first row, and a unit held short received: funding, write-offs, less
        dividends; None when there is none of them."""
        return self._paid_since_start(lambda cost: cost.longs_pay)

    @cached_property
    def short_paid_TN(self) -> NDArray[np.float64] | None:
        """(T, N) what a unit held short has paid since the first row besides: borrow; None when nothing is charged."""
        return self._paid_since_start(lambda cost: cost.longs_pay + cost.shorts_pay)

    def _paid_since_start(self, times: Callable[[CarryingCost], float]) -> NDArray[np.float64] | None:
        charged = [cost for cost in self.charged(CarryingCost) if times(cost)]
        flows = [times(cost) * cost.per_unit_TN(self.price_TN) for cost in charged]
        return np.cumsum(sum(flows), axis=0) if flows else None

    @cached_property
    def long_worth_TN(self) -> NDArray[np.float64]:
        """(T, N) price less the carry paid so far: what one unit, long or short, is worth apart from what shorts pay besides."""
        return self.price_TN if self.carry_paid_TN is None else self.price_TN - self.carry_paid_TN

    @cached_property
    def short_worth_TN(self) -> NDArray[np.float64] | None:
        """(T, N) the same for a unit held short, whose holder also pays borrow; None when nothing is charged."""
        return None if self.short_paid_TN is None else self.long_worth_TN + self.short_paid_TN

    @cached_property
    def interest(self) -> float:
        """Earned in a row by a unit of uninvested equity."""
        return -sum(cost.rate for cost in self.charged(CashCost))


def market_of(panel: Panel, assets: Sequence[Asset], costs: CostSettings, backtest: BacktestSettings) -> Market:
    """The market of a panel at an experiment's costs.

    Prices are marks carried forward, which equal the trade price wherever there is one.
    """
    tradable_TN = np.isfinite(panel.trade_price_TN)
    price_TN = np.where(tradable_TN, panel.trade_price_TN, panel.mark_price_TN)
    delisted_TN = delisted_rows(panel.age_hours_TN, backtest.delisted_after_hours)
    inputs = CostInputs(panel, costs, backtest, delisted_TN)
    made = [cost.of(inputs) for _, cost in COSTS.items()]
    return Market(
        as_of_T=panel.as_of_T,
        asset_ids=panel.asset_ids,
        price_TN=np.where(np.isnan(price_TN), 1.0, price_TN),
        tradable_TN=tradable_TN,
        costs=tuple(cost for cost in made if cost is not None),
        delisted_TN=delisted_TN if delisted_TN.any() else None,
        unit_impact=SquareRootImpact.at(inputs, 1.0),
        margin_leverage=backtest.margin_leverage,
        missing_funding=missing_settlements(panel, assets) if costs.funding else 0,
        grid=panel.grid,
    )
