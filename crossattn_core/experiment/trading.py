"""From forecasts to money: the knobs of baselines, portfolio, costs and simulation."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from crossattn_core.experiment.registered import StrategyName
from crossattn_core.experiment.section import Section
from crossattn_core.universe import VENUES, VenueName

__all__ = ["BacktestSettings", "BaselineSettings", "CostSettings", "PortfolioSettings", "VenueCosts"]


class BaselineSettings(Section):
    """Baselines, shown beside every result."""

    strategies: tuple[StrategyName, ...] = Field(
        default=("cash", "equal_weight", "buy_and_hold", "inverse_volatility", "momentum", "ridge_var"), validate_default=False
    )
    """Baselines by name."""
    momentum_hours: int = Field(default=168, ge=2)
    """Trailing return that momentum follows, hours."""
    volatility_hours: int = Field(default=720, ge=24)
    """Trailing hours of the inverse-volatility weights."""
    ridge_lags: int = Field(default=24, ge=1, le=336)
    """ridge_var, lasso and their kin: bars back that the regression reads."""
    ridge_penalty: float = Field(default=100.0, gt=0)
    """L2 penalty on standardised lagged returns."""
    lasso_power: float = Field(default=1.0, gt=0, le=4)
    """adaptive_lasso: power of a ridge coefficient's size that its penalty is divided by."""
    elastic_net_ridge: float = Field(default=0.1, gt=0, le=10)
    """elastic_net: the ridge term, as a share of a regressor's own sum of squares."""
    lead_window_bars: int = Field(default=720, ge=24, le=100_000)
    """local_lead_lag: bars behind each day's lagged correlations."""
    leaders: int = Field(default=2, ge=1, le=64)
    """local_lead_lag: leaders of an asset."""
    characteristic_bars: tuple[Annotated[int, Field(ge=1, le=5000)], ...] = Field(default=(1, 6, 24, 72, 168, 720), min_length=2)
    """lightgbm_pooled: windows of past returns, bars, shortest first."""
    boosted_trees: int = Field(default=100, ge=1, le=10_000)
    """lightgbm: most trees an asset and output."""
    boosted_leaves: int = Field(default=8, ge=2, le=1024)
    """lightgbm: leaves of a tree."""
    boosted_learning_rate: float = Field(default=0.05, gt=0, le=1)
    """lightgbm: share of each tree that is added."""
    boosted_min_rows: int = Field(default=50, ge=1)
    """lightgbm: rows in a leaf, at least."""
    boosted_patience: int = Field(default=15, ge=1)
    """lightgbm: trees without a better validation loss before it stops."""


class PortfolioSettings(Section):
    """Forecast to weights."""

    rule: Literal["long_short", "long_only", "softmax", "tanh", "rank"] = "long_short"
    """The first two price the cost of trading in; the others follow the scores."""
    decision_hour: int = Field(default=15, ge=0, le=23)
    """UTC hour of decisions."""
    rebalance_every: int = Field(default=24, ge=1, le=24 * 31)
    """Hours between decisions."""
    gross: float = Field(default=1.0, gt=0, le=10)
    """Largest gross exposure, share of equity."""
    max_weight: float = Field(default=0.35, gt=0, le=1)
    """Largest |weight| of one asset."""
    no_trade_band: float = Field(default=0.02, ge=0, lt=1)
    """A weight change smaller than this is not traded."""
    shrinkage: float = Field(default=1.0, gt=0, le=1)
    """What forecasts with skill are worth of what they say, before any is realised: a slope, 1 where they are right in size."""
    risk_aversion: float = Field(default=5.0, gt=0)
    """Larger: smaller positions for the same forecast and risk."""
    volatility_hours: int = Field(default=720, ge=24)
    """Trailing hours of the risk estimate."""
    cost_multiple: float = Field(default=2.0, ge=0)
    """Opening must promise this multiple of its one-way cost over the trade horizon; 2 pays for in and out."""
    prior_skill: float = Field(default=0.5, gt=0, lt=1)
    """Probability that a family's forecasts are worth anything, before any is realised."""
    shrinkage_confidence: float = Field(default=0.5, ge=0, le=10)
    """Odds for skill, by realised forecasts, up to which nothing is traded; a forecast is shrunk by this over the odds."""
    skill_half_life_days: float = Field(default=180.0, gt=0)
    """A realised forecast counts half as much at this age: skill comes and goes."""
    holding_horizons: float = Field(default=5.0, ge=1, le=100)
    """A position without edge is closed when its risk over this many trade horizons outweighs the cost of closing; one whose
    forecasts have no skill is closed at once."""
    shrinkage_prior_sd: float = Field(default=0.3, ge=0, le=10)
    """Standard deviation of slopes around 'shrinkage', which realised forecasts move; 0: every forecast is multiplied by
    'shrinkage', whatever is realised."""
    temperature: float = Field(default=0.2, gt=0, le=100)
    """softmax, tanh: scores are divided by this."""
    dollar_neutral: bool = False
    """tanh: weights sum to zero before limits."""
    bucket_share: float = Field(default=0.3, gt=0, le=0.5)
    """rank: share of the assets in each bucket."""
    sector_caps: dict[str, Annotated[float, Field(ge=0, le=10)]] = Field(default={})
    """Sector -> largest sum of |weight| of its assets."""
    venue_caps: dict[str, Annotated[float, Field(ge=0, le=10)]] = Field(default={})
    """Venue -> largest sum of |weight| of its assets."""
    volatility_target: float = Field(default=0.0, ge=0, le=10)
    """Annual volatility, expected from trailing returns, that target weights are scaled to before limits; 0: none."""
    volatility_limit: float = Field(default=0.0, ge=0, le=10)
    """Largest annual volatility expected from trailing returns; 0: no limit."""
    trade_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the way to the target weight that a decision trades."""
    turnover_limit: float = Field(default=0.0, ge=0, le=20)
    """Largest sum of |trade| of a decision; 0: no limit."""
    carry_hours: int = Field(default=72, ge=8, le=24 * 60)
    """Trailing hours whose funding is expected to go on."""


class VenueCosts(Section):
    """One venue's costs: ``_bps`` of traded notional, one way; ``_bps_per_year`` of what is held."""

    fee_bps: float = Field(ge=0, le=500)
    """Commission."""
    half_spread_bps: float = Field(ge=0, le=500)
    """Half of the spread between bid and ask."""
    slippage_bps: float = Field(ge=0, le=500)
    """Move of the price between decision and fill."""
    borrow_bps_per_year: float = Field(default=0.0, ge=0, le=10_000)
    """Charged on short notional, stocks only."""

    @property
    def trade_bps(self) -> float:
        """Cost of one unit of traded notional, in basis points: every knob whose name ends in ``_bps``."""
        return sum(getattr(self, name) for name in type(self).model_fields if name.endswith("_bps"))


class CostSettings(Section):
    """What trading costs: knobs of all venues, and one ``VenueCosts`` for each venue that is named.

    A venue that is not named has its own costs (``Venue.costs``); of one that is named, so has every knob that is not. An
    experiment names those that its assets are on, so that its hash and its stages know them.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, VenueCosts] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]  # pydantic's form

    funding: bool = True
    """Perpetuals pay and receive funding."""
    impact: float = Field(default=0.0, ge=0, le=10)
    """Square-root impact: a trade of one hour's volume costs this many hourly standard deviations; 0: none."""
    linear_impact: float = Field(default=0.0, ge=0, le=10)
    """Linear impact: a trade of one hour's volume costs this many hourly standard deviations; 0: none."""
    interest_bps_per_year: float = Field(default=0.0, ge=0, le=5_000)
    """Earned on equity that the last execution left uninvested (1 - gross exposure)."""

    @model_validator(mode="before")
    @classmethod
    def _of_venues(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping):
            return settings
        filled = dict(settings)
        for name in settings.keys() - cls.model_fields.keys():
            if name not in VENUES.names():
                known = sorted({*cls.model_fields, *VENUES.names()})
                near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
                raise ValueError(f"{name}: no such knob and no venue; did you mean {near[0]!r}? Known here: {', '.join(known)}")
            if isinstance(settings[name], Mapping):
                filled[name] = {**VENUES.get(name).costs.model_dump(), **settings[name]}
        return filled

    def of(self, venue: VenueName) -> VenueCosts:
        """The costs of one venue: as named, or its own."""
        named = (self.__pydantic_extra__ or {}).get(venue)
        return named if named is not None else VENUES.get(venue).costs

    def with_venues(self, venues: Sequence[VenueName]) -> "CostSettings":
        """The same costs, with those of ``venues`` named."""
        named = self.__pydantic_extra__ or {}
        return self.model_copy(update={venue: self.of(venue) for venue in venues if venue not in named})

    def __getattr__(self, name: str) -> Any:
        # costs.<venue>, whether the experiment names it or not.
        if not name.startswith("_") and name in VENUES.names():
            return self.of(name)
        return super().__getattr__(name)  # pyright: ignore[reportAttributeAccessIssue]  # pydantic's own, at run time


class BacktestSettings(Section):
    """The simulation."""

    capital: float = Field(default=100_000.0, gt=0)
    """Equity at the first bar, quote currency."""
    margin_leverage: float = Field(default=0.0, ge=0, le=100)
    """Gross exposure over equity at which a margin call cuts every position; 0: never."""
    delisted_after_hours: int = Field(default=336, ge=0, le=24 * 365)
    """Age of its newest candle at which an asset counts as delisted; 0: never."""
    delisting_value: float = Field(default=1.0, ge=0, le=1)
    """Share of its last price that a delisted asset is worth; 1: closed at the last price, 0: written off."""
    bootstrap_samples: int = Field(default=500, ge=50, le=100_000)
    """Resampled tracks behind each interval."""
    trials: int = Field(default=1, ge=1)
    """Variants of the strategy that were looked at before this one; the deflated Sharpe counts them all."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the intervals."""
    seed: int = Field(default=5, ge=0)
    """Which tracks the bootstrap draws."""
