"""Every knob of crossattn, in one place: its unit, its bounds, its default.

An experiment is a frozen tree of sections, one a stage; a stage is handed its own section, never the whole.
A YAML file holds only what differs from the defaults below. Unknown names are refused with the nearest
valid one, and ``Experiment.content_hash`` names the result: two experiments with one hash are the same.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from crossattn_core.errors import ExperimentError, UniverseError
from crossattn_core.universe import VENUES, Asset, VenueName

__all__ = [
    "AnalysisSettings",
    "BacktestSettings",
    "BaselineSettings",
    "ChampionSettings",
    "CostSettings",
    "Experiment",
    "FeatureSettings",
    "FeedSettings",
    "LabelSettings",
    "ModelSettings",
    "Period",
    "PlantedLead",
    "PortfolioSettings",
    "RegimeSettings",
    "ReportSettings",
    "RetrainSettings",
    "Section",
    "SimulatedMarket",
    "TrainingSettings",
    "VenueCosts",
    "load_experiment",
]


class Section(BaseModel):
    """A frozen group of knobs that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    not_hashed: ClassVar[frozenset[str]] = frozenset()
    """Knobs that say where, not what: another folder or address with the same candles is the same experiment."""

    def content_hash(self) -> str:
        """Sixteen hex digits that change exactly when a knob of this section does."""
        canonical = json.dumps(_hashed(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class PlantedLead(Section):
    """One planted edge: the follower's return repeats part of the leader's, ``lag`` hours later."""

    leader: str = Field(description="symbol that moves first")
    follower: str = Field(description="symbol that moves later")
    lag: int = Field(ge=1, le=72, description="hours between the two moves, on the hourly grid")
    share: float = Field(default=0.05, gt=0, lt=0.5, description="share of the follower's variance that the lead explains")
    shape: Literal["linear", "squared"] = Field(
        default="linear", description="'squared': the follower answers the size of the leader's move, not its sign"
    )


class SimulatedMarket(Section):
    """The embedded market: deterministic by seed, its leaders known."""

    seed: int = Field(default=7, ge=0)
    leads: tuple[PlantedLead, ...] = Field(
        default=(
            PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=1, share=0.08),
            PlantedLead(leader="BTCUSDT", follower="SOLUSDT", lag=6, share=0.08),
            PlantedLead(leader="BTCUSDT", follower="XRPUSDT", lag=12, share=0.08),
            PlantedLead(leader="BTCUSDT", follower="DOGEUSDT", lag=18, share=0.08),
            PlantedLead(leader="ETHUSDT", follower="ADAUSDT", lag=23, share=0.08),
            PlantedLead(leader="NVDA", follower="AMD", lag=1, share=0.08),
        ),
        description="planted edges; the truth is written beside the candles",
    )
    common_share: float = Field(
        default=0.10, ge=0, lt=0.9, description="share of variance from a factor that all assets of a market have in common"
    )
    calm_hourly_volatility: float = Field(
        default=0.004, gt=0, lt=0.1, description="standard deviation of an hourly log return in the calm regime"
    )
    stress_multiple: float = Field(
        default=2.0, ge=1, le=10, description="volatility and common-factor multiple in the stress regime"
    )
    mean_regime_days: float = Field(default=45.0, gt=1, description="mean length of a regime, days")
    missing_share: float = Field(default=0.002, ge=0, lt=0.5, description="share of candles that the venue never published")
    outages_per_year: float = Field(
        default=0.0, ge=0, le=1000, description="mean number of outages of a whole venue, 2 to 12 hours each, in a year"
    )


class FeedSettings(Section):
    """Where each venue's candles come from. Swapping the feed changes no asset."""

    not_hashed: ClassVar[frozenset[str]] = frozenset(
        {"folder", "bybit_url", "yahoo_url", "requests_per_second", "timeout_seconds", "max_attempts", "recheck_days"}
    )

    kind: Literal["simulated", "files", "api"] = "simulated"
    folder: str = Field(default="", description="'files': root of the candle files; relative to the experiment file")
    simulated: SimulatedMarket = SimulatedMarket()
    bybit_url: str = Field(default="https://api.bybit.com", description="'api': base URL of Bybit's REST v5")
    yahoo_url: str = Field(default="", description="'api': another base URL for Yahoo's chart endpoint; empty for its own")
    requests_per_second: float = Field(
        default=60.0, gt=0, le=120, description="one limiter for all Bybit calls; the public limit is 600 in 5 s per address"
    )
    timeout_seconds: float = Field(default=15.0, gt=0, le=300)
    max_attempts: int = Field(default=6, ge=1, le=20, description="tries a request gets before it counts as failed")
    adjust_splits: bool = Field(
        default=True, description="stocks: prices adjusted for splits (and dividends, as Yahoo serves them)"
    )
    publication_lag_seconds: dict[VenueName, int] = Field(
        default={"bybit": 0, "yahoo": 0},
        description="a candle is known this long after it closed; 0 leaves the delay to the execution lag",
    )
    recheck_days: int = Field(
        default=1,
        ge=0,
        le=30,
        description="'api': stored days just before new ones that are asked for again, to find revisions and splits",
    )
    max_revision: float = Field(
        default=1e-6, ge=0, description="relative change of a stored price beyond which a later revision fails its check"
    )
    gap_tolerance: float = Field(
        default=0.02, ge=0, lt=1, description="share of a day's expected candles that may be missing before its check fails"
    )


class Period(Section):
    """The days that the experiment knows; day D holds the rows keyed in (D 00:00, D+1 00:00] UTC."""

    start: date = Field(default=date(2025, 1, 1), description="first day")
    end: date | None = Field(default=date(2025, 12, 31), description="last day, inclusive; none: until the newest complete day")

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"period ends on {self.end}, before it starts on {self.start}; swap them")
        return self


class FeatureSettings(Section):
    """What a model reads of each asset at each bar."""

    names: tuple[str, ...] = Field(
        default=(
            "log_return",
            "intraday_return",
            "range_share",
            "relative_volume",
            "volatility",
            "rsi_14",
            "macd_histogram",
            "gap_return",
        ),
        min_length=1,
        description="columns of features.panel_rows, in the order of the panel's feature axis",
    )
    max_age_hours: int = Field(
        default=96, ge=1, le=24 * 14, description="an asset whose newest candle is older is unreadable; 96 h spans a long weekend"
    )


class LabelSettings(Section):
    """What is forecast: log(trade_price[exit] / trade_price[fill])."""

    horizons: tuple[int, ...] = Field(default=(1, 24), min_length=1, description="bars from fill to exit")
    trade_horizon: int = Field(default=24, ge=1, description="the horizon whose forecast is traded")
    execution_lag: int = Field(default=1, ge=1, le=24, description="bars from decision to fill")
    max_exit_delay: int = Field(
        default=96, ge=0, le=24 * 14, description="bars to wait for a tradable exit row before the label is NaN"
    )

    @model_validator(mode="after")
    def _traded_horizon_is_forecast(self) -> Self:
        if self.trade_horizon not in self.horizons:
            raise ValueError(f"trade_horizon {self.trade_horizon} is not among horizons {self.horizons}; add it there")
        if list(self.horizons) != sorted(set(self.horizons)) or self.horizons[0] < 1:
            raise ValueError(f"horizons {self.horizons} must be positive, distinct and ascending")
        return self


class ModelSettings(Section):
    """The network."""

    cross_attention: Literal["lag_bias", "last", "pooled", "lagged", "hierarchical", "factorised", "sparse", "uniform", "off"] = (
        "lag_bias"
    )
    own_branch: Literal["attention", "lstm", "gru", "dlinear"] = Field(
        default="attention", description="what reads the asset's own window; the others than 'attention' are baselines"
    )
    lookback: int = Field(default=168, ge=8, le=4096, description="bars that a window holds")
    patch: int = Field(default=24, ge=1, le=168, description="bars in one token of the temporal encoder; divides lookback")
    max_lag: int = Field(default=24, ge=1, le=336, description="bars back that cross-attention reads, at most lookback")
    width: int = Field(default=64, ge=8, le=1024)
    heads: int = Field(default=8, ge=1, le=32, description="divides width; dealt out to the outputs in turn")
    layers: int = Field(default=2, ge=1, le=12, description="layers of causal temporal self-attention")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    value_width: int = Field(default=4, ge=1, le=256, description="lag_bias: width of what one head hears of a bar")
    top_sources: int = Field(default=8, ge=1, le=512, description="sparse: assets that a head keeps per target")
    content: bool = Field(default=False, description="lag_bias: add the content term to the learned logits")

    @model_validator(mode="after")
    def _shapes_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.lookback % self.patch:
            raise ValueError(f"lookback {self.lookback} is not a multiple of patch {self.patch}")
        if self.max_lag > self.lookback:
            raise ValueError(f"max_lag {self.max_lag} exceeds lookback {self.lookback}")
        return self


class TrainingSettings(Section):
    """One fit."""

    epochs: int = Field(
        default=6, ge=1, le=1000, description="epochs of a cold start: passes over the rows, or more (minimum_batches)"
    )
    warm_epochs: int = Field(default=2, ge=1, le=1000, description="epochs when the predecessor's weights are the start")
    minimum_batches: int = Field(
        default=40, ge=1, le=100_000, description="batches in an epoch, at least: little history is passed over more than once"
    )
    batch_size: int = Field(default=128, ge=1, le=65536, description="decision rows in a batch")
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    logit_rate_multiple: float = Field(default=50.0, ge=1, le=100, description="learning-rate multiple of the lag logits")
    weight_decay: float = Field(default=1e-2, ge=0, lt=1)
    schedule: Literal["one_cycle", "cosine", "plateau"] = "one_cycle"
    loss: Literal["mse", "huber"] = "mse"
    clip_norm: float = Field(default=1.0, gt=0)
    validation_share: float = Field(
        default=0.15, gt=0, lt=0.5, description="newest share of the rows, held out to choose the epoch"
    )
    embargo: int = Field(default=24, ge=0, le=24 * 30, description="bars between the last training label and the validation rows")
    patience: int = Field(default=4, ge=1, description="epochs without a better validation loss before the fit stops")
    stride: int = Field(default=1, ge=1, le=168, description="bars between training rows")
    run: int = Field(default=16, ge=1, le=512, description="neighbouring rows that are drawn together; they share tokens")
    own_every: int = Field(
        default=16, ge=1, le=64, description="in training the own branch speaks on every n-th row of a batch (drop-path)"
    )
    seed: int = Field(default=11, ge=0)
    threads: int = Field(
        default=1, ge=0, le=64, description="torch threads; 1 gives the same bits everywhere, 0 leaves torch's own"
    )


class RegimeSettings(Section):
    """Causal regimes of the whole market."""

    detector: Literal["volatility_terciles", "hidden_markov", "absorption"] = "hidden_markov"
    volatility_days: int = Field(default=7, ge=2, le=90, description="days in the trailing volatility")
    minimum_days: int = Field(default=30, ge=10, description="days before the first regime is named")
    rank_band: float = Field(
        default=0.1, ge=0, lt=1 / 3, description="terciles: share of past days by which a third's edge must be passed"
    )
    sticky_days: float = Field(
        default=30.0,
        gt=1,
        le=365,
        description="'hidden_markov': prior mean length of a regime, and the days that this prior weighs",
    )
    states: int = Field(default=2, ge=2, le=3, description="'hidden_markov': states, ordered by volatility")
    refit_days: int = Field(default=14, ge=1, le=365, description="'hidden_markov': days between two fits on the past")
    correlation_days: int = Field(default=20, ge=2, le=180, description="'absorption': days in the trailing correlations")
    confirm_days: int = Field(default=5, ge=1, le=30, description="days in a row that confirm a change")
    max_window_days: int = Field(default=120, ge=7, description="a regime window is cut after this many days")


class RetrainSettings(Section):
    """When the walk-forward trains again."""

    minimum_days: int = Field(default=90, ge=10, description="days of history before the first model")
    every_days: int = Field(default=28, ge=1, le=365, description="the one cadence that history and live share")
    cooldown_days: int = Field(
        default=14, ge=0, description="days between two retrains that a trigger other than 'forced' asks for"
    )
    history_days: int = Field(default=365, ge=20, description="training rows reach back this far")
    recency_half_life_days: float = Field(default=180.0, gt=0, description="a row's weight halves with this age")
    other_regime_weight: float = Field(default=0.5, gt=0, le=1, description="weight of rows outside the regime in force")
    on_regime_change: bool = True
    cold_every: int = Field(default=6, ge=1, description="every n-th model starts cold")
    families: tuple[str, ...] = Field(
        default=("attention", "ridge_var"), min_length=1, description="model families that are trained side by side on one plan"
    )
    on_drift: bool = True
    drift_days: int = Field(
        default=14, ge=1, le=180, description="newest days whose features are compared with the training rows"
    )
    max_drift: float = Field(
        default=1.0,
        gt=0,
        description="growth of the features' mean population-stability index since the fit that calls for a new one",
    )
    on_degraded: bool = True
    degraded_days: int = Field(
        default=56,
        ge=7,
        le=365,
        description="newest days, since the last retrain at most, of realised forecasts in the rolling IC",
    )
    degraded_gap: float = Field(
        default=0.05, gt=0, lt=1, description="first family's rolling IC may fall this far under the best other family's"
    )


class ChampionSettings(Section):
    """Which strategy is followed: chosen from realised walk-forward results only."""

    fallback: str = Field(default="equal_weight", description="followed while no family is shown to beat it")
    every_days: int = Field(default=28, ge=1, le=365, description="days between two choices")
    window_days: int = Field(default=180, ge=28, le=3650, description="newest days of realised net returns that are compared")
    minimum_days: int = Field(default=56, ge=14, description="days of realised net returns before a family can be chosen")
    confidence: float = Field(
        default=0.9, gt=0.5, lt=1, description="one-sided confidence that a challenger's net return is higher"
    )
    block_days: int = Field(default=10, ge=1, le=60, description="days in a block of the paired bootstrap")


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
    belief_caution: float = Field(
        default=0.5,
        ge=0,
        le=3,
        description="standard deviations of doubt taken off the believed share, so that luck earns less trust",
    )
    exit_patience: float = Field(
        default=5.0,
        ge=1,
        le=100,
        description="a position without edge is closed when its risk over this many trade horizons outweighs the cost of closing",
    )
    belief_uncertainty: float = Field(
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
    volatility_limit: float = Field(
        default=0.0, ge=0, le=10, description="largest annual volatility expected from trailing returns; 0: no limit"
    )
    trade_share: float = Field(
        default=1.0, gt=0, le=1, description="share of the way to the wanted weight that a decision trades"
    )
    turnover_limit: float = Field(default=0.0, ge=0, le=20, description="largest sum of |trade| of a decision; 0: no limit")
    carry_hours: int = Field(default=72, ge=8, le=24 * 60, description="trailing hours whose funding is expected to go on")


class VenueCosts(Section):
    """One venue's costs, one way."""

    fee_bps: float = Field(ge=0, le=500)
    half_spread_bps: float = Field(ge=0, le=500)
    slippage_bps: float = Field(ge=0, le=500)
    borrow_bps_per_year: float = Field(default=0.0, ge=0, le=10_000, description="charged on short notional, stocks only")

    @property
    def trade_bps(self) -> float:
        """Cost of one unit of traded notional, in basis points."""
        return self.fee_bps + self.half_spread_bps + self.slippage_bps


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
    interest_bps_per_year: float = Field(
        default=0.0, ge=0, le=5_000, description="earned on equity that the last execution left uninvested (1 - gross exposure)"
    )


class BacktestSettings(Section):
    """The simulation."""

    capital: float = Field(default=100_000.0, gt=0, description="equity at the first bar, quote currency")
    margin_leverage: float = Field(
        default=0.0, ge=0, le=100, description="gross exposure over equity at which a margin call cuts every position; 0: never"
    )
    bootstrap_samples: int = Field(default=500, ge=50, le=100_000)
    trials: int = Field(
        default=1,
        ge=1,
        description="variants of the strategy that were looked at before this one; the deflated Sharpe counts them all",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    seed: int = Field(default=5, ge=0)


class AnalysisSettings(Section):
    """Attention snapshots and the gate in front of a leader's name."""

    permutations: int = Field(default=200, ge=20, le=10_000, description="shifts in the null of each pair's lagged correlation")
    window_days: int = Field(default=180, ge=14, le=3650, description="newest days that a leader's name rests on")
    max_lag: int = Field(default=24, ge=1, le=168, description="hours of lead that are tested")
    most_on_one_source: float = Field(
        default=0.9, gt=0, le=1, description="share of all attention on one source beyond which it counts as collapsed"
    )
    least_entropy: float = Field(
        default=0.05, ge=0, lt=1, description="mean entropy over its largest value under which attention counts as collapsed"
    )
    most_entropy: float = Field(
        default=0.995, gt=0, le=1, description="mean entropy over its largest value above which attention tells nothing apart"
    )
    most_change: float = Field(
        default=0.5, gt=0, le=1, description="share of attention that may move between two days before it is flagged"
    )
    false_discovery_rate: float = Field(default=0.05, gt=0, lt=0.5)
    minimum_ic_gain: float = Field(
        default=0.0, ge=0, description="IC over the model without cross-attention that a named leader needs"
    )


class ReportSettings(Section):
    """The page."""

    title: str = "crossattn"
    owner: str = Field(default="research", description="shown on assets and on the report")


class Experiment(Section):
    """One experiment: what is read, learnt, traded and reported."""

    name: str = Field(default="demo", pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    assets: tuple[Asset, ...] = Field(
        default=(
            Asset(venue="bybit", symbol="BTCUSDT", sector="layer1"),
            Asset(venue="bybit", symbol="ETHUSDT", sector="layer1"),
            Asset(venue="bybit", symbol="SOLUSDT", sector="layer1"),
            Asset(venue="bybit", symbol="XRPUSDT", sector="payments"),
            Asset(venue="bybit", symbol="DOGEUSDT", sector="payments"),
            Asset(venue="bybit", symbol="ADAUSDT", sector="layer1"),
            Asset(venue="yahoo", symbol="AAPL", sector="devices"),
            Asset(venue="yahoo", symbol="NVDA", sector="semiconductors"),
            Asset(venue="yahoo", symbol="AMD", sector="semiconductors"),
            Asset(venue="yahoo", symbol="MSFT", sector="software"),
        ),
        min_length=2,
        description="the universe, in the order of the panel's asset axis",
    )
    period: Period = Period()
    feed: FeedSettings = FeedSettings()
    features: FeatureSettings = FeatureSettings()
    labels: LabelSettings = LabelSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    regimes: RegimeSettings = RegimeSettings()
    retrain: RetrainSettings = RetrainSettings()
    champion: ChampionSettings = ChampionSettings()
    baselines: BaselineSettings = BaselineSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    costs: CostSettings = CostSettings()
    backtest: BacktestSettings = BacktestSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("assets")
    @classmethod
    def _assets_differ(cls, assets: tuple[Asset, ...]) -> tuple[Asset, ...]:
        symbols = [asset.symbol for asset in assets]
        twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands more than once; a universe names each symbol once")
        return assets

    @model_validator(mode="after")
    def _planted_leads_name_assets(self) -> Self:
        if self.feed.kind == "simulated" and "leads" in self.feed.simulated.model_fields_set:
            known = set(self.symbols)
            for lead in self.feed.simulated.leads:
                for symbol in (lead.leader, lead.follower):
                    if symbol not in known:
                        listed = ", ".join(sorted(known))
                        raise ValueError(f"planted lead names {symbol}, which is not among the assets ({listed})")
        return self

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols in panel order."""
        return tuple(asset.symbol for asset in self.assets)

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """Asset keys in panel order."""
        return tuple(asset.asset_id for asset in self.assets)

    @property
    def venues(self) -> tuple[VenueName, ...]:
        """The venues that the universe uses, by name."""
        used = {asset.venue for asset in self.assets}
        return tuple(venue for venue in VENUES if venue in used)

    @property
    def candle_stages(self) -> tuple[str, ...]:
        """The stages at which data enters: candles by venue, and funding where the universe has perpetuals."""
        funding = ("candles/bybit_funding",) if any(asset.pays_funding for asset in self.assets) else ()
        return (*(f"candles/{venue}" for venue in self.venues), *funding)

    def assets_on(self, venue: VenueName) -> tuple[Asset, ...]:
        """The assets of one venue, in panel order."""
        return tuple(asset for asset in self.assets if asset.venue == venue)

    def select(self, symbols: tuple[str, ...]) -> "Experiment":
        """The same experiment on fewer symbols; an unknown one is refused with the nearest known."""
        for symbol in symbols:
            if symbol not in self.symbols:
                near = difflib.get_close_matches(symbol, self.symbols, n=1, cutoff=0.0)
                raise UniverseError(
                    f"{symbol} is not in experiment {self.name!r} ({', '.join(self.symbols)}); did you mean {near[0]}? "
                    "Add it under 'assets' in the experiment file to use it."
                )
        settings = self.model_dump()
        settings["assets"] = [asset.model_dump() for asset in self.assets if asset.symbol in symbols]
        market = settings["feed"]["simulated"]
        market["leads"] = [lead for lead in market["leads"] if {lead["leader"], lead["follower"]} <= set(symbols)]
        return Experiment.model_validate(settings)


def load_experiment(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment file (only differences from the defaults) and lay ``overrides`` over it.

    Args:
        path: YAML file; none gives the defaults.
        overrides: nested like the file, for instance ``{"training": {"epochs": 2}}``.

    Raises:
        ExperimentError: the file is missing, is not a mapping, or a knob is unknown or out of bounds. Every
            fault is named at once, with the nearest valid name for a typo.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise ExperimentError(f"{path}: no such experiment file; see experiments/ for examples")
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ExperimentError(f"{path}: not YAML: {error}") from error
        if read is not None and not isinstance(read, dict):
            raise ExperimentError(f"{path}: holds a {type(read).__name__}; an experiment file is a mapping of sections")
        settings = read or {}
    for section, value in (overrides or {}).items():
        settings[section] = _merged(settings.get(section), value)
    try:
        experiment = Experiment.model_validate(settings)
    except ValidationError as error:
        where = str(path) if path is not None else "experiment"
        lines = [_explained(detail["loc"], detail["type"], detail["msg"], detail.get("input")) for detail in error.errors()]
        raise ExperimentError(f"{where}: " + "\n".join(lines)) from error
    if experiment.feed.kind == "files" and path is not None and not Path(experiment.feed.folder).is_absolute():
        folder = str((path.parent / experiment.feed.folder).resolve())
        feed = experiment.feed.model_copy(update={"folder": folder})
        experiment = experiment.model_copy(update={"feed": feed})
    return experiment


def _hashed(value: Any) -> Any:
    if isinstance(value, Section):
        names = type(value).model_fields.keys() - value.not_hashed
        return {name: _hashed(getattr(value, name)) for name in sorted(names)}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_hashed(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, Mapping):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return above


def _explained(location: tuple[int | str, ...], kind: str, message: str, given: Any) -> str:
    name = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        return f"{name}: {message.removeprefix('Value error, ')}" + ("" if isinstance(given, dict) else f" (given: {given!r})")
    fields = _fields_at(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), fields, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{name}: no such knob; {hint}Known here: {', '.join(sorted(fields))}"


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Experiment
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [arg for arg in getattr(annotation, "__args__", (annotation,)) if isinstance(arg, type)]
        model = next((arg for arg in inner if issubclass(arg, BaseModel)), model)
    return list(model.model_fields)
