"""From forecasts to money: the knobs of baselines, portfolio, costs and simulation."""

from typing import Annotated, Literal

from pydantic import Field

from crossattn_core.experiment.section import Section

__all__ = ["BacktestSettings", "BaselineSettings", "CostSettings", "PortfolioSettings", "VenueCosts"]


class BaselineSettings(Section):
    """What stands beside every result."""

    strategies: tuple[str, ...] = Field(
        default=("cash", "equal_weight", "buy_and_hold", "inverse_volatility", "momentum", "ridge_var"),
        description="baselines by name",
    )
    momentum_hours: int = Field(default=168, ge=2)
    volatility_hours: int = Field(default=720, ge=24, description="trailing hours of the inverse-volatility weights")
    ridge_lags: int = Field(default=24, ge=1, le=336)
    ridge_penalty: float = Field(default=100.0, gt=0, description="L2 penalty on standardised lagged returns")
    boosted_trees: int = Field(default=100, ge=1, le=10_000, description="lightgbm: most trees an asset and output")
    boosted_leaves: int = Field(default=8, ge=2, le=1024, description="lightgbm: leaves of a tree")
    boosted_learning_rate: float = Field(default=0.05, gt=0, le=1, description="lightgbm: share of each tree that is added")
    boosted_min_rows: int = Field(default=50, ge=1, description="lightgbm: rows in a leaf, at least")
    boosted_patience: int = Field(
        default=15, ge=1, description="lightgbm: trees without a better validation loss before it stops"
    )


class PortfolioSettings(Section):
    """Forecast to weights."""

    rule: Literal["long_short", "long_only", "softmax", "tanh", "rank"] = Field(
        default="long_short", description="the first two price the cost of trading in; the others follow the scores"
    )
    decision_hour: int = Field(default=15, ge=0, le=23, description="UTC hour of decisions")
    rebalance_every: int = Field(default=24, ge=1, le=24 * 31, description="hours between decisions")
    gross: float = Field(default=1.0, gt=0, le=10, description="largest gross exposure, share of equity")
    max_weight: float = Field(default=0.35, gt=0, le=1, description="largest |weight| of one asset")
    no_trade_band: float = Field(default=0.02, ge=0, lt=1, description="a weight change smaller than this is not traded")
    shrinkage: float = Field(
        default=0.5, gt=0, le=1, description="share of a forecast that is believed; weak forecasts take small positions"
    )
    risk_aversion: float = Field(default=5.0, gt=0, description="larger: smaller positions for the same forecast and risk")
    volatility_hours: int = Field(default=720, ge=24, description="trailing hours of the risk estimate")
    cost_multiple: float = Field(
        default=2.0,
        ge=0,
        description="opening must promise this multiple of its one-way cost over the trade horizon; 2 pays for in and out",
    )
    shrinkage_confidence: float = Field(
        default=0.5,
        ge=0,
        le=3,
        description="standard deviations of doubt taken off the believed share, so that luck earns less trust",
    )
    holding_horizons: float = Field(
        default=5.0,
        ge=1,
        le=100,
        description="a position without edge is closed when its risk over this many trade horizons outweighs the cost of closing",
    )
    shrinkage_prior_sd: float = Field(
        default=0.35,
        ge=0,
        le=10,
        description="standard deviation of the prior around 'shrinkage': realised forecasts move the believed share; 0 fixes it",
    )
    temperature: float = Field(default=0.2, gt=0, le=100, description="softmax, tanh: scores are divided by this")
    dollar_neutral: bool = Field(default=False, description="tanh: weights sum to zero before limits")
    bucket_share: float = Field(default=0.3, gt=0, le=0.5, description="rank: share of the assets in each bucket")
    sector_caps: dict[str, Annotated[float, Field(ge=0, le=10)]] = Field(
        default={}, description="sector -> largest sum of |weight| of its assets"
    )
    venue_caps: dict[str, Annotated[float, Field(ge=0, le=10)]] = Field(
        default={}, description="venue -> largest sum of |weight| of its assets"
    )
    volatility_target: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="annual volatility, expected from trailing returns, that wanted weights are scaled to before limits; 0: none",
    )
    volatility_limit: float = Field(
        default=0.0, ge=0, le=10, description="largest annual volatility expected from trailing returns; 0: no limit"
    )
    trade_share: float = Field(
        default=1.0, gt=0, le=1, description="share of the way to the wanted weight that a decision trades"
    )
    turnover_limit: float = Field(default=0.0, ge=0, le=20, description="largest sum of |trade| of a decision; 0: no limit")
    carry_hours: int = Field(default=72, ge=8, le=24 * 60, description="trailing hours whose funding is expected to go on")


class VenueCosts(Section):
    """One venue's costs: ``_bps`` of traded notional, one way; ``_bps_per_year`` of what is held."""

    fee_bps: float = Field(ge=0, le=500)
    half_spread_bps: float = Field(ge=0, le=500)
    slippage_bps: float = Field(ge=0, le=500)
    borrow_bps_per_year: float = Field(default=0.0, ge=0, le=10_000, description="charged on short notional, stocks only")

    @property
    def trade_bps(self) -> float:
        """Cost of one unit of traded notional, in basis points: every knob whose name ends in ``_bps``."""
        return sum(getattr(self, name) for name in type(self).model_fields if name.endswith("_bps"))


class CostSettings(Section):
    """What trading costs."""

    bybit: VenueCosts = VenueCosts(fee_bps=5.5, half_spread_bps=1.0, slippage_bps=3.5)
    yahoo: VenueCosts = VenueCosts(fee_bps=3.0, half_spread_bps=2.0, slippage_bps=5.0, borrow_bps_per_year=100.0)
    funding: bool = Field(default=True, description="perps pay and receive funding")
    impact: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="square-root impact: a trade of one hour's volume costs this many hourly standard deviations; 0: none",
    )
    linear_impact: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="linear impact: a trade of one hour's volume costs this many hourly standard deviations; 0: none",
    )
    interest_bps_per_year: float = Field(
        default=0.0, ge=0, le=5_000, description="earned on equity that the last execution left uninvested (1 - gross exposure)"
    )


class BacktestSettings(Section):
    """The simulation."""

    capital: float = Field(default=100_000.0, gt=0, description="equity at the first bar, quote currency")
    margin_leverage: float = Field(
        default=0.0, ge=0, le=100, description="gross exposure over equity at which a margin call cuts every position; 0: never"
    )
    delisted_after_hours: int = Field(
        default=336, ge=0, le=24 * 365, description="age of its newest candle at which an asset counts as delisted; 0: never"
    )
    delisting_value: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of its last price that a delisted asset is worth; 1: closed at the last price, 0: written off",
    )
    bootstrap_samples: int = Field(default=500, ge=50, le=100_000)
    trials: int = Field(
        default=1,
        ge=1,
        description="variants of the strategy that were looked at before this one; the deflated Sharpe counts them all",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    seed: int = Field(default=5, ge=0)
