"""What the report is made from: results as the stages stored them, and the page's inputs that follow from these.

Frames are read by the columns named here; further columns are ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.analysis.snapshot_store import StoredAttention
from crossattn_core.backtest.simulation import Simulation
from crossattn_core.experiment import Experiment, PlantedLead
from crossattn_core.panel.panel import Panel
from crossattn_core.portfolio.target_weights import Targets
from crossattn_core.selection.choose import Champions

__all__ = ["AttentionSummary", "ReportInputs", "StoredResults"]


@dataclass(frozen=True)
class StoredResults:
    """What the stages stored, loaded once: nothing in it is of a day after the panel's last."""

    experiment: Experiment
    panel: Panel
    targets: Mapping[str, Targets]
    """Strategy -> target weights, the champion's among them; all decided at the same rows."""
    forecasts: pd.DataFrame
    """``walk_forward.store.FORECAST_COLUMNS``."""
    plan: pd.DataFrame
    """``walk_forward.store.PLAN_COLUMNS``."""
    attention: StoredAttention
    champions: Champions | None
    """Who was followed by day; none before the first hand-over."""
    trials: int
    """Variants that were looked at, all counted."""
    data_quality: pd.DataFrame | None
    """One row an asset; none without the mart."""


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
    """Everything on the page. ``simulations`` maps strategy -> simulation, all from the same first decision.

    Every other part may be missing; the page then says so.
    """

    experiment: Experiment
    simulations: Mapping[str, Simulation]
    subject: str = "attention"
    """The strategy that the verdict is about."""
    benchmark: str = "equal_weight"
    """The strategy that the subject has to beat."""
    followed: pd.DataFrame | None = None
    """day, champion: whom the subject followed (``selection.choose.CHAMPION_COLUMNS``); none where it follows nobody."""
    shrinkage: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Strategy -> (D,) share of its forecasts that was kept."""
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
    overview: AttentionOverview | None = None
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
