"""What every family of models gives back after a fit, and what a fit asks for.

Axes: T bars of the panel, R rows asked for, N assets (targets), M assets (sources), L lags, H horizons or heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossattn_core.panel.panel import Panel

__all__ = ["AttentionWeights", "EpochReport", "FitRequest", "FittedModel", "silent"]


@dataclass(frozen=True)
class EpochReport:
    """One epoch of a fit, as it ends."""

    epoch: int
    """From 1."""
    epochs: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    is_best: bool
    rows: int
    """Decision rows in an epoch."""


def silent(report: EpochReport) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class FitRequest:
    """One fit: nothing whose label ends after ``cut_off`` is used, to fit, stop, select or scale."""

    panel: Panel
    cut_off: int
    """Newest row whose prices may be used."""
    row_weight_T: NDArray[np.float32]
    """(T,) weight of each decision row; 0 leaves the row out."""
    seed: int
    warm_from: "FittedModel | None" = None
    """Predecessor whose weights are the start."""
    resume_folder: Path | None = None
    """Where a network's fit keeps its state after each epoch: the same request picks it up there and ends in the same
    bits. Emptied when the fit ends."""


@dataclass(frozen=True)
class AttentionWeights:
    """Attention as it was used: eval mode, before dropout."""

    row_R: NDArray[np.int64]
    weight_RHNML: NDArray[np.float32]
    """(R, heads, targets, sources, lags): over (sources, lags) each target's weights sum to one, or are all zero where
    nothing was readable. A target never reads itself here. Lag index l is the bar ``l`` bars before as_of."""
    asset_ids: tuple[str, ...]
    serves_H: tuple[str, ...]
    """The output that each head feeds: 'next_bar', or a horizon such as '1' or '24'; 'all' where heads are shared."""
    lead_hours_L: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Hours from the source's bar at lag index l to the next bar's return: l + 1. For heads that serve 'next_bar' this is
    the lead in hours; for a horizon h it is the lead over the first bar after as_of."""

    def serving(self, output: str) -> NDArray[np.float32]:
        """(R, N, M, L) mean over the heads that feed ``output``."""
        chosen = [h for h, serves in enumerate(self.serves_H) if serves in (output, "all")]
        return self.weight_RHNML[:, chosen].mean(axis=1)


class FittedModel(ABC):
    """A model that was fitted once and answers for any row with enough history."""

    family: str
    model_id: str
    """Content hash of the weights and the manifest."""
    manifest: dict[str, Any]

    @abstractmethod
    def forecast(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """(R, N, H) log return over each horizon, unscaled; NaN where the asset is unreadable at the row."""

    @abstractmethod
    def forecast_next_bar(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """(R, N) log return of the very next bar, close to close: for lead-lag work, never traded."""

    @abstractmethod
    def save(self, folder: Path) -> Path:
        """Write the checkpoint into ``folder`` (atomic, manifest last); returns the folder."""

    def weights(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        """(R, N) share of equity that the model wants at each row, NaN where the asset is unreadable; none for a family
        that forecasts returns. A family that gives weights has no forecasts: those are NaN."""
        return None

    def attention(self, panel: Panel, rows: NDArray[np.integer]) -> AttentionWeights | None:
        """The weights used at ``rows``; none for a family without attention."""
        return None

    def forecast_without_others(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        """(R, N) the next-bar forecast with cross-attention cut out; none for a family without attention."""
        return None


Report = Callable[[EpochReport], None]
