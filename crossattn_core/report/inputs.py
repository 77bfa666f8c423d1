"""What the report is made from. Every part but the simulations may be missing; the page then says so.

Frames are read by the columns named here; further columns are ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.experiment import Experiment, PlantedLead

__all__ = ["AttentionSummary", "ReportInputs"]


@dataclass(frozen=True)
class AttentionSummary:
    """Attention as it was used, averaged over the report's rows. Axes: N targets, M sources, L lags."""

    symbols: tuple[str, ...]
    """N = M symbols in panel order."""
    weight_NM: NDArray[np.floating]
    """(N, M) share of target n's attention on source m; rows sum to 1."""
    lags: tuple[int, ...]
    """L lags in hours behind the decision row."""
    weight_ML: NDArray[np.floating]
    """(M, L) share of attention on source m at each lag, averaged over targets."""


@dataclass(frozen=True)
class ReportInputs:
    """Everything on the page. ``simulations`` maps strategy -> simulation, all from the same first decision."""

    experiment: Experiment
    simulations: Mapping[str, Simulation]
    subject: str = "attention"
    """The strategy that the verdict is about."""
    benchmark: str = "equal_weight"
    """The strategy that the subject has to beat."""
    beliefs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Strategy -> (D,) share of its forecasts that was believed."""
    forecast_quality: pd.DataFrame | None = None
    """family, horizon, asset_id ('all': the average over assets), measure, value, low, high, pairs."""
    accuracy_tests: pd.DataFrame | None = None
    """horizon, first, second, statistic, p_value, rows: see ``analysis.forecast_tests.accuracy_tests``."""
    decay: pd.DataFrame | None = None
    """family, hours, ic, low, high, rows: see ``analysis.forecast_tests.decay_by_horizon``."""
    trials: int | None = None
    """Variants that were looked at, all counted; ``backtest.trials`` where nobody counted."""
    plan: pd.DataFrame | None = None
    """Grain (day, family): day, family, action, reason, why, regime, train_start, cut_off, rows, validation_loss, model_id."""
    regime_windows: pd.DataFrame | None = None
    """window_id, regime, name, onset, confirmed, end (exclusive), days, volatility."""
    attention: AttentionSummary | None = None
    story: AttentionOverview | None = None
    """Attention through time, views, statistics and correlation by regime."""
    leaders: pd.DataFrame | None = None
    """leader, follower, lag, weight, correlation, q_value, named, why; one row an ordered pair."""
    planted: Sequence[PlantedLead] | None = None
    """The truth of a simulated market; None where nobody knows it."""
    data_quality: pd.DataFrame | None = None
    """Any columns, one row an asset: shown as it is."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """What reproduces the page: experiment, panel, weights, code version, ..."""
    notes: Sequence[str] = ()
    """Sentences for the reader, shown under the verdict."""
