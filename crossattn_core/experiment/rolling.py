"""When models are retrained and which is followed: the knobs of regimes, retraining and the champion."""

from pydantic import Field

from crossattn_core.experiment.registered import DetectorName, FamilyName, StrategyName
from crossattn_core.experiment.section import Section

__all__ = ["RegimeSettings", "RetrainSettings", "SelectionSettings"]


class RegimeSettings(Section):
    """Causal regimes of the whole market."""

    detector: DetectorName = "hidden_markov"
    """A name of regimes/detectors/."""
    volatility_days: int = Field(default=7, ge=2, le=90)
    """Days in the trailing volatility."""
    minimum_days: int = Field(default=30, ge=10)
    """Days before the first regime is named."""
    rank_band: float = Field(default=0.1, ge=0, lt=1 / 3)
    """terciles: share of past days by which a third's edge must be passed."""
    sticky_days: float = Field(default=30.0, gt=1, le=365)
    """'hidden_markov': prior mean length of a regime, and the days that this prior weighs."""
    states: int = Field(default=2, ge=2, le=3)
    """'hidden_markov': states, ordered by volatility."""
    refit_days: int = Field(default=14, ge=1, le=365)
    """'hidden_markov': days between two fits on the past."""
    correlation_days: int = Field(default=20, ge=2, le=180)
    """'absorption': days in the trailing correlations."""
    confirm_days: int = Field(default=5, ge=1, le=30)
    """Days in a row that confirm a change."""
    max_window_days: int = Field(default=120, ge=7)
    """A regime window is cut after this many days."""


class RetrainSettings(Section):
    """When the walk-forward trains again."""

    minimum_days: int = Field(default=90, ge=10)
    """Days of history before the first model."""
    every_days: int = Field(default=28, ge=1, le=365)
    """The one cadence that history and live share."""
    cooldown_days: int = Field(default=14, ge=0)
    """Days between two retrains that are triggered by anything but 'forced'."""
    history_days: int = Field(default=365, ge=20)
    """Training rows reach back this far."""
    recency_half_life_days: float = Field(default=180.0, gt=0)
    """A row's weight halves with this age."""
    other_regime_weight: float = Field(default=0.5, gt=0, le=1)
    """Weight of rows outside the regime in force."""
    on_regime_change: bool = True
    """Train again when a confirmed regime differs from the newest model's."""
    cold_every: int = Field(default=6, ge=1)
    """Every n-th model starts cold."""
    seeds: int = Field(default=1, ge=1, le=32)
    """Networks of a family that are fitted beside each other, apart by seed, and averaged."""
    families: tuple[FamilyName, ...] = Field(default=("attention", "ridge_var"), min_length=1, validate_default=False)
    """Model families that are trained side by side on one plan."""
    on_drift: bool = True
    """Train again when features drift by more than max_drift."""
    drift_days: int = Field(default=14, ge=1, le=180)
    """Newest days whose features are compared with the training rows."""
    max_drift: float = Field(default=1.0, gt=0)
    """Growth of the features' mean population-stability index since the fit that calls for a new one."""
    max_drift_served: float = Field(default=3.0, gt=0)
    """Population-stability index of the newest features against the training rows beyond which a fresh model never serves; 0 is
    no drift, all newest rows in one decile about 9."""
    on_degraded: bool = True
    """Train again when the rolling IC falls short by more than degraded_gap."""
    degraded_days: int = Field(default=56, ge=7, le=365)
    """Newest days, since the last retrain at most, of realised forecasts in the rolling IC."""
    degraded_gap: float = Field(default=0.05, gt=0, lt=1)
    """First family's rolling IC may fall this far under the best other family's."""


class SelectionSettings(Section):
    """Which strategy is followed: chosen from realised walk-forward results only."""

    fallback: StrategyName = Field(default="equal_weight", validate_default=False)
    """Followed while no family is shown to beat it."""
    every_days: int = Field(default=28, ge=1, le=365)
    """Days between two choices."""
    window_days: int = Field(default=180, ge=7, le=3650)
    """Newest days of realised net returns that are compared."""
    minimum_days: int = Field(default=56, ge=5)
    """Days of realised net returns before a family can be chosen."""
    confidence: float = Field(default=0.9, gt=0.5, lt=1)
    """One-sided confidence that a challenger's net return is higher."""
    block_days: int = Field(default=10, ge=1, le=60)
    """Days in a block of the paired bootstrap."""
