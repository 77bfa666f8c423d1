"""The kinds of cost, and the registry of all costs.

A kind is what a cost is charged on, which is all that the engines know of it:

    NotionalCost    rate x |trade|                                            fee, half-spread, slippage
    ImpactCost      coefficient x |trade| ^ power                             square-root and linear impact
    CarryingCost    rate x value held into the row, by longs and by shorts    funding, borrow, write-off, dividends
    CashCost        rate x equity that the last execution left idle           interest

Money is in quote currency and positive where it is paid; rates are fractions, per trade or per row.

Axes: T rows of the market, N assets, K trades, X any rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from crossattn_core.errors import BacktestError
from crossattn_core.experiment import BacktestSettings, CostSettings
from crossattn_core.panel.panel import Panel
from crossattn_core.registry import Registry

__all__ = ["COSTS", "CarryingCost", "CashCost", "Cost", "CostInputs", "ImpactCost", "NotionalCost", "account_lines", "cost_lines"]

Rows = NDArray[np.int64] | slice | int


@dataclass(frozen=True)
class CostInputs:
    """What a cost is made from."""

    panel: Panel
    settings: CostSettings
    backtest: BacktestSettings
    delisted_TN: NDArray[np.bool_]
    """(T, N) rows at which what is held of an asset is settled for good."""

    def venue_rate_N(self, knob: str) -> NDArray[np.float64]:
        """(N,) a knob in basis points of each asset's venue, as a fraction."""
        venues = [self.settings.of(asset_id.split(":", 1)[0]) for asset_id in self.panel.asset_ids]
        return np.array([getattr(venue, knob) for venue in venues]) / 1e4


@dataclass(frozen=True)
class Cost(ABC):
    """One cost of a market."""

    line: ClassVar[str]
    """Its line in the account; costs may share one."""
    order: ClassVar[int] = 100
    """Place of the line in the account; equal places by name."""
    is_cost: ClassVar[bool] = True
    """False: what longs receive and shorts pay, which is part of the gross return and not of the costs."""
    valid: ClassVar[str] = "a rate is finite, and 0 where nothing is charged"

    @classmethod
    @abstractmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        """The cost at an experiment's knobs; None where nothing is charged."""

    def check(self, as_of_T: NDArray[np.datetime64], asset_ids: tuple[str, ...]) -> None:
        """Raise BacktestError unless every array has one valid value an asset (``_N``) or a price (``_TN``)."""
        for name in (field.name for field in fields(self)):
            value, by_row = getattr(self, name), name.endswith("_TN")
            if by_row and not isinstance(value, np.ndarray):
                raise BacktestError(f"{self.line}: {name} is a {type(value).__name__}; give an array, a row each of the market's")
            if not isinstance(value, np.ndarray):
                if isinstance(value, float) and not self.is_valid(np.array(value)):
                    raise BacktestError(f"{self.line}: {name} is {value}; {self.valid}")
                continue
            needed = (len(as_of_T), len(asset_ids)) if by_row else (len(asset_ids),)
            if value.shape != needed:
                what = "price" if by_row else "asset"
                raise BacktestError(f"{self.line}: {name} has shape {value.shape}, the market {needed}; one value a {what}")
            bad = ~self.is_valid(value)
            if bad.any():
                *row, asset = np.argwhere(bad)[0]
                when = f" at {as_of_T[row[0]]}" if row else ""
                raise BacktestError(
                    f"{asset_ids[asset]}: {self.line} {value[*row, asset]}{when} ({int(bad.sum())} such in all); {self.valid}"
                )

    def is_valid(self, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where ``value`` meets ``valid``."""
        return np.isfinite(value)


@dataclass(frozen=True)
class NotionalCost(Cost):
    """``rate_N`` x |trade|, one way."""

    knob: ClassVar[str]
    """Of ``costs.<venue>``: basis points of traded notional."""
    rate_N: NDArray[np.float64]

    @classmethod
    def of(cls, inputs: CostInputs) -> Self | None:
        """At the venues' knobs."""
        return cls(inputs.venue_rate_N(cls.knob))

    def paid(self, size_XN: NDArray[np.float64], rows: Rows) -> NDArray[np.float64]:
        """(..., N) money that trades of ``size_XN`` (money, not negative) cost at the market's ``rows``."""
        del rows  # the same at each
        return size_XN * self.rate_N


@dataclass(frozen=True)
class ImpactCost(Cost):
    """``coefficient_TN`` x |trade| ^ ``power``: a trade of money m moves its own price by coefficient x m ^ (power - 1)."""

    power: ClassVar[float]
    """Above 1."""
    valid = "an impact is finite and not negative, and 0 where a trade moves nothing"
    coefficient_TN: NDArray[np.float64]

    def is_valid(self, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.isfinite(value) & (value >= 0)

    def paid(self, size_XN: NDArray[np.float64], rows: Rows) -> NDArray[np.float64]:
        """(..., N) money that trades of ``size_XN`` (money, not negative) cost at the market's ``rows``."""
        return self.coefficient_TN[rows] * size_XN**self.power


@dataclass(frozen=True)
class CarryingCost(Cost):
    """``rate_TN`` x what was held into the row, before the row's trades.

    A unit of value held long pays ``longs_pay`` x rate, a unit held short ``shorts_pay`` x rate: (1, -1) flows from longs to
    shorts, (0, 1) is paid by shorts alone, (1, 1) by gross exposure.
    """

    longs_pay: ClassVar[float]
    shorts_pay: ClassVar[float]
    is_per_unit: ClassVar[bool] = False
    """Whether the rate is quote currency per unit held, instead of a fraction of its value."""
    rate_TN: NDArray[np.float64]

    def paid(self, units_XN: NDArray[np.float64], price_XN: NDArray[np.float64], rows: Rows) -> NDArray[np.float64]:
        """(..., N) money paid at the market's ``rows`` by ``units_XN`` held into them; negative where received."""
        held_XN = units_XN if self.is_per_unit else units_XN * price_XN
        charged_XN = self.longs_pay * np.maximum(held_XN, 0.0) + self.shorts_pay * np.maximum(-held_XN, 0.0)
        return charged_XN * self.rate_TN[rows]

    def per_unit_TN(self, price_TN: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, N) quote currency that the rate is for one unit held."""
        return self.rate_TN if self.is_per_unit else self.rate_TN * price_TN


@dataclass(frozen=True)
class CashCost(Cost):
    """``rate`` x equity that the last execution left uninvested (1 - gross exposure, not below 0), a row; negative: earned."""

    rate: float

    def check(self, as_of_T: NDArray[np.datetime64], asset_ids: tuple[str, ...]) -> None:
        if np.ndim(self.rate):
            raise BacktestError(f"{self.line}: rate has shape {np.shape(self.rate)}; it is one number, of a row")
        super().check(as_of_T, asset_ids)


COSTS: Registry[type[Cost]] = Registry("cost", "crossattn_core.backtest.costs")
"""Every cost, by name."""


def account_lines(charged: Iterable[Cost] = ()) -> dict[str, type[Cost]]:
    """Line -> a cost of it, in the account's order: of every registered cost, and of those ``charged``."""
    kinds = {kind for _, kind in COSTS.items()} | {type(cost) for cost in charged}
    return {kind.line: kind for kind in sorted(kinds, key=lambda kind: (kind.order, kind.line))}


def cost_lines(charged: Iterable[Cost] = ()) -> tuple[str, ...]:
    """The lines that are costs, in the account's order."""
    return tuple(line for line, kind in account_lines(charged).items() if kind.is_cost)
