"""What a family of models is, what a fit needs, and what it gives.

Axes: T bars of the panel, R rows, N assets (targets), M assets (sources), L lags, H horizons or heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import Experiment, TrainingSettings
from crossattn_core.families.checkpoint import model_id_of, write_checkpoint
from crossattn_core.panel.labels import Labels
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.splits import Split, training_rows
from crossattn_core.training.epochs import EpochReport

__all__ = ["AttentionWeights", "CandidateWeights", "Family", "FitRequest", "FittedModel", "heads_that_serve"]


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

    @property
    def known_panel(self) -> Panel:
        """The rows up to the cut-off: all that a fit may read."""
        return self.panel.until(self.cut_off + 1)

    @property
    def known_weight_T(self) -> NDArray[np.float32]:
        """(T,) the weights of those rows."""
        return np.asarray(self.row_weight_T[: self.cut_off + 1], dtype=np.float32)

    def split(self, labels: Labels, settings: TrainingSettings, *, first: int) -> Split:
        """Training and validation rows from ``first`` on, of those that have weight."""
        return training_rows(
            labels,
            self.cut_off,
            first=first,
            weight_T=self.known_weight_T,
            validation_share=settings.validation_share,
            embargo=settings.embargo,
            stride=settings.stride,
        )

    def record(self, train_R: NDArray[np.integer], *, validation_rows: int = 0, loss: float | None = None) -> dict[str, Any]:
        """What a manifest keeps of the fit: on the panel rows ``train_R``, with the loss on rows that were held out, if any."""
        known = self.known_panel
        return {
            "panel_hash": known.content_hash,
            "cut_off": str(known.as_of_T[self.cut_off]),
            "train_start": str(known.as_of_T[train_R[0]]),
            "train_rows": len(train_R),
            "validation_rows": validation_rows,
            "validation_loss": loss,
            "parent_id": None,
        }


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
    lead_bars_L: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Bars from the source's bar at lag index l to the next bar's return: l + 1. For heads that serve 'next_bar' this is
    the lead in bars; for a horizon h it is the lead over the first bar after as_of."""

    def heads_serving(self, output: str) -> NDArray[np.float32]:
        """(R, H', N, M, L) of the heads that feed ``output``."""
        return self.weight_RHNML[:, heads_that_serve(output, self.serves_H)]


@dataclass(frozen=True)
class CandidateWeights:
    """Attention of a network that reads a few (source, lag) pairs of each target, not spelled out over all of them."""

    row_R: NDArray[np.int64]
    source_NK: NDArray[np.int64]
    """(targets, pairs): the source of each pair, and its lag index as in ``AttentionWeights``. Where targets read unequally
    many, their own newest bar with weight 0 fills up the rest."""
    lag_NK: NDArray[np.int64]
    weight_RHNK: NDArray[np.float32]
    """(R, heads, targets, pairs): over pairs each target's weights sum to one, or are all zero where nothing was readable."""
    asset_ids: tuple[str, ...]
    serves_H: tuple[str, ...]
    """As in ``AttentionWeights``."""
    lead_bars_L: NDArray[np.int64]
    """As in ``AttentionWeights``."""

    def heads_serving(self, output: str) -> NDArray[np.float32]:
        """(R, H', N, K) of the heads that feed ``output``."""
        return self.weight_RHNK[:, heads_that_serve(output, self.serves_H)]

    def over_every_pair(self, value_NK: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, M, L) of values by pair, 0 on every pair that is no candidate."""
        assets = len(self.asset_ids)
        value_NML = np.zeros((assets, assets, len(self.lead_bars_L)), dtype=np.float32)
        np.add.at(value_NML, (np.arange(assets)[:, None], self.source_NK, self.lag_NK), value_NK)
        return value_NML


def heads_that_serve(output: str, serves_H: tuple[str, ...]) -> list[int]:
    """Which heads feed ``output``, of those that feed ``serves_H``."""
    return [h for h, serves in enumerate(serves_H) if serves in (output, "all")]


class FittedModel(ABC):
    """A model that was fitted once and forecasts any row with enough history."""

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

    @property
    def found_nothing(self) -> bool:
        """Whether the fit chose to forecast 0: an answer, where another model that never moves is broken."""
        return False

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint holds beside the manifest, by name."""
        return {}

    def identify(self, manifest: dict[str, Any]) -> None:
        """Take ``manifest`` and its family, and the id that it and the arrays come to, unless it holds one already."""
        self.family, self.manifest = manifest["family"], manifest
        self.model_id = manifest.setdefault("model_id", model_id_of(self.arrays(), manifest))

    def save(self, folder: Path) -> Path:
        """Write the checkpoint into ``folder`` (atomic, manifest last); returns the folder."""
        return write_checkpoint(folder, self.arrays(), self.manifest)

    def weights(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        """(R, N) target share of equity at each row, NaN where the asset is unreadable; none for a family
        that forecasts returns. A family that gives weights has no forecasts: those are NaN."""
        return None

    def attention(self, panel: Panel, rows: NDArray[np.integer]) -> AttentionWeights | None:
        """The weights used at ``rows``; none for a family without attention."""
        return None

    def candidate_attention(self, panel: Panel, rows: NDArray[np.integer]) -> CandidateWeights | None:
        """The same of the pairs that it reads alone; none for a model that reads every pair. In a large universe ``attention``
        spells out assets * assets * lags weights of each head, nearly all of them 0."""
        return None

    def forecast_without_others(self, panel: Panel, rows: NDArray[np.integer]) -> NDArray[np.float32] | None:
        """(R, N) the next-bar forecast with cross-attention cut out; none for a family without attention."""
        return None


class Fit(Protocol):
    """Fits a family under its name, up to the request's cut-off; the experiment is already adapted to it."""

    def __call__(
        self, family: str, request: FitRequest, experiment: Experiment, *, report: Callable[[EpochReport], None]
    ) -> FittedModel: ...


@dataclass(frozen=True)
class Family:
    """A kind of model: how it is fitted and read back, and which knobs it depends on."""

    fit: Fit
    load: Callable[[Mapping[str, NDArray[Any]], dict[str, Any], Experiment], FittedModel]
    """From the arrays and the manifest of a checkpoint."""
    knobs: tuple[str, ...] = ()
    """Sections ('model') and single knobs ('baselines.ridge_lags') that decide what is fitted, beside universe, features and
    labels: they are part of a model's id."""
    adapt: Callable[[Experiment], Experiment] = lambda experiment: experiment
    """Sets the knobs that make an experiment's network this family."""
    averages_seeds: bool = False
    """Whether ``retrain.seeds`` fits so many and averages them."""
    gives_weights: bool = False
    """Shares of equity in place of forecasts."""
