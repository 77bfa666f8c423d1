"""Windows by index: a scaled panel stays in memory once, a batch takes the bars it needs.

Axes: B decision rows, T bars, L bars of a window, N assets, F features, C channels (F features and the fresh flag),
U distinct bars of a batch, R rows and lags that share a bar, at most.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossattn_core.panel.panel import Panel
from crossattn_core.panel.row_masks import RowMasks
from crossattn_core.stats.returns import log_returns

__all__ = ["RecentBars", "RecentPlaces", "Scaler", "Windows", "bar_log_returns", "fit_scaler", "taken", "trailing_volatility"]

_CLIP = 6.0
"""Deviations beyond which a scaled feature is cut: one bad candle must not own a batch."""


@dataclass(frozen=True)
class Scaler:
    """What a feature is divided by; fitted on training bars only and kept in the checkpoint."""

    mean_NF: NDArray[np.float32]
    deviation_NF: NDArray[np.float32]

    def apply(self, feature_TNF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centred, divided, cut at a few deviations; NaN (no fresh candle) becomes 0."""
        scaled_TNF = (feature_TNF - self.mean_NF) / self.deviation_NF
        return np.clip(np.nan_to_num(scaled_TNF, nan=0.0, posinf=_CLIP, neginf=-_CLIP), -_CLIP, _CLIP).astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What a checkpoint keeps, by name."""
        return {"scaler.mean_NF": self.mean_NF, "scaler.deviation_NF": self.deviation_NF}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Scaler":
        """Rebuild from what ``arrays`` gave."""
        return cls(arrays["scaler.mean_NF"], arrays["scaler.deviation_NF"])


def fit_scaler(panel: Panel, first: int, last: int) -> Scaler:
    """Mean and deviation per asset and feature over the bars ``first..last``.

    An asset or feature without two finite bars there gets mean 0 and deviation 1: it is masked anyway.
    """
    feature_TNF = np.asarray(panel.feature_TNF[first : last + 1], dtype=np.float64)
    seen_TNF = np.isfinite(feature_TNF)
    count_NF = seen_TNF.sum(axis=0)
    filled_TNF = np.where(seen_TNF, feature_TNF, 0.0)
    mean_NF = filled_TNF.sum(axis=0) / np.maximum(count_NF, 1)
    variance_NF = (np.where(seen_TNF, feature_TNF - mean_NF, 0.0) ** 2).sum(axis=0) / np.maximum(count_NF, 1)
    deviation_NF = np.sqrt(variance_NF)
    usable_NF = (count_NF > 1) & (deviation_NF > 1e-12)
    return Scaler(np.where(usable_NF, mean_NF, 0.0).astype(np.float32), np.where(usable_NF, deviation_NF, 1.0).astype(np.float32))


@dataclass(frozen=True)
class RecentPlaces:
    """Which bars a batch reads, by index; made on the CPU, since it decides sizes and what is computed."""

    bar_U: Tensor
    """The distinct bars among the resident ones."""
    place_BL: Tensor
    """Where bar ``as_of - l`` of each row lies in U; lag 0 is the newest."""
    all_readable: bool
    """Whether every asset is readable at every row."""
    holder_UR: Tensor | None = None
    """Places among (B, L) that hold each bar, B * L in what is left over; not needed where adding up by index is exact."""
    masks: RowMasks | None = None
    """Which rows may read the same assets; none where all may read all."""

    def padded(self, bars: int, sharing: int) -> "RecentPlaces":
        """The same with so many bars, the last of them repeated, and with ``holder_UR`` so wide."""
        place_S = self.place_BL.flatten()
        count_U = torch.bincount(place_S, minlength=bars)
        order_S = torch.argsort(place_S, stable=True)
        bar_S = place_S[order_S]
        column_S = torch.arange(len(place_S)) - (count_U.cumsum(0) - count_U)[bar_S]
        holder_UR = torch.full((bars, sharing), len(place_S))
        holder_UR[bar_S, column_S] = order_S
        bar_U = torch.cat([self.bar_U, self.bar_U[-1:].expand(bars - len(self.bar_U))])
        return RecentPlaces(bar_U, self.place_BL, self.all_readable, holder_UR, self.masks)


@dataclass(frozen=True)
class RecentBars:
    """The newest bars behind B decision rows. Rows that lie close share bars: each is held once."""

    bar_UNC: Tensor
    """The U distinct bars: scaled features and the fresh flag; zero where the asset was silent."""
    place_BL: Tensor
    """Where bar ``as_of - l`` of each row lies in U; lag 0 is the newest."""
    readable_BN: Tensor
    """Whether the asset's newest candle is young enough to be read at the decision row."""
    holder_UR: Tensor | None = None
    """As in ``RecentPlaces``."""
    known_readable: bool | None = None
    """What ``all_readable`` is, where it was found before: asking a GPU waits for it."""
    known_masks: RowMasks | None = None
    """What ``masks`` is, where it was found before and not all are readable."""

    @property
    def all_readable(self) -> bool:
        """Whether every asset is readable at every row."""
        if self.known_readable is not None:
            return self.known_readable
        # A meta tensor has a shape and no values: the shapes of both forms are the same.
        return self.readable_BN.is_meta or bool(self.readable_BN.all())

    @property
    def masks(self) -> RowMasks:
        """Which rows may read the same assets."""
        if self.known_masks is not None:
            return self.known_masks
        return RowMasks.alike(self.readable_BN) if self.all_readable else RowMasks.found(self.readable_BN)

    def spread(self, value_UX: Tensor) -> Tensor:
        """(U, ...) values per distinct bar to (B, L, ...) values per row and lag."""
        batch, lags = self.place_BL.shape
        place_S = self.place_BL.reshape(-1)
        value_SX = taken(value_UX, place_S) if self.holder_UR is None else _SelectBars.apply(value_UX, place_S, self.holder_UR)
        return value_SX.view(batch, lags, *value_UX.shape[1:])


def taken(value_UX: Tensor, place_S: Tensor) -> Tensor:
    """(S, ...) rows of ``value_UX``.

    With deterministic algorithms the gradient of ``index_select`` has the host read the largest index from a GPU. That of
    indexing has not; on a CPU it is the slower one.
    """
    return value_UX.index_select(0, place_S) if _is_on_cpu(value_UX) else value_UX[place_S]


def _is_on_cpu(value: Tensor) -> bool:
    return value.device.type == "cpu"


class _SelectBars(torch.autograd.Function):
    """``index_select`` whose gradient is gathered and summed bar by bar: in one order, and without a sort on a GPU."""

    @staticmethod
    def forward(ctx: Any, value_UX: Tensor, place_S: Tensor, holder_UR: Tensor) -> Tensor:
        ctx.save_for_backward(holder_UR)
        return value_UX.index_select(0, place_S)

    @staticmethod
    def backward(ctx: Any, grad_SX: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        [holder_UR] = ctx.saved_tensors
        padded_SX = torch.cat([grad_SX, torch.zeros_like(grad_SX[:1])])
        return padded_SX.index_select(0, holder_UR.reshape(-1)).unflatten(0, holder_UR.shape).sum(dim=1), None, None


class Windows:
    """The bars ``first..last`` of a panel, scaled and resident; rows are panel rows.

    Bars before the panel's first are silent.
    """

    def __init__(
        self, panel: Panel, scaler: Scaler, *, lookback: int, max_age_hours: float, first: int = 0, last: int | None = None
    ) -> None:
        last = len(panel.as_of_T) - 1 if last is None else last
        start = max(first - lookback + 1, 0)
        padding = max(lookback - 1 - first, 0)
        self._lookback = lookback
        self._origin = start - padding
        self._last = last
        feature_TNF = np.asarray(panel.feature_TNF[start : last + 1])
        fresh_TN = np.asarray(panel.is_fresh_TN[start : last + 1]) & np.isfinite(feature_TNF).any(axis=-1)
        bar_TNC = np.zeros((padding + len(fresh_TN), fresh_TN.shape[1], len(panel.features) + 1), dtype=np.float32)
        bar_TNC[padding:, :, :-1] = scaler.apply(feature_TNF)
        # The whole bar is silent or none of it: a stale asset must not show through one carried feature.
        bar_TNC[padding:, :, :-1] *= fresh_TN[..., None]
        bar_TNC[padding:, :, -1] = fresh_TN
        age_TN = np.full(bar_TNC.shape[:2], np.nan, dtype=np.float32)
        age_TN[padding:] = panel.age_hours_TN[start : last + 1]
        self.bar_TNC = torch.from_numpy(bar_TNC)
        with np.errstate(invalid="ignore"):
            self.readable_TN = torch.from_numpy(age_TN <= max_age_hours)
        # Stays on the CPU, where it is decided what is computed.
        self._all_readable_T = self.readable_TN.all(dim=1)
        self._offset_L = torch.arange(-lookback + 1, 1)

    @property
    def first_bar(self) -> int:
        """Panel row of the first resident bar."""
        return self._origin

    def to(self, device: torch.device) -> "Windows":
        """Move the resident bars to ``device``; returns self."""
        self.bar_TNC = self.bar_TNC.to(device)
        self.readable_TN = self.readable_TN.to(device)
        self._offset_L = self._offset_L.to(device)
        return self

    def gather(self, row_B: Tensor) -> Tensor:
        """(B, L, N, C) the windows that end at ``row_B`` (panel rows): oldest bar first, none after the row."""
        return self.bar_TNC[(row_B - self._origin)[:, None] + self._offset_L]

    def gather_recent(self, row_B: Tensor, lags: int) -> RecentBars:
        """The newest ``lags`` bars behind each of ``row_B``."""
        return self.recent(row_B, self.places(row_B, lags))

    def places(self, row_B: Tensor, lags: int) -> RecentPlaces:
        """Which bars those are; on the CPU."""
        place_B = row_B.cpu() - self._origin
        bar_U, place_BL = torch.unique(place_B[:, None] - torch.arange(lags), return_inverse=True)
        masks = self.masks(row_B)
        return RecentPlaces(bar_U, place_BL, masks is None, masks=masks)

    def masks(self, row_B: Tensor) -> RowMasks | None:
        """Which of the rows may read the same assets, on the CPU; none where every asset is readable at each."""
        place_B = row_B.cpu() - self._origin
        if bool(self._all_readable_T[place_B].all()):
            return None
        readable_GN, mask_T = self._distinct_masks
        mask_Z, place_B = torch.unique(mask_T[place_B], return_inverse=True)
        return RowMasks.of(readable_GN[mask_Z], place_B)

    @cached_property
    def _distinct_masks(self) -> tuple[Tensor, Tensor]:
        """(G, N) those of all resident bars in ascending order, and (T,) which of them each bar has; on the CPU."""
        readable_GN, mask_T = np.unique(self.readable_TN.cpu().numpy(), axis=0, return_inverse=True)
        return torch.from_numpy(readable_GN), torch.from_numpy(mask_T.reshape(-1))

    def recent(self, row_B: Tensor, places: RecentPlaces) -> RecentBars:
        """The bars at ``places`` of ``row_B``."""
        device = self.bar_TNC.device
        return RecentBars(
            self.bar_TNC[places.bar_U.to(device)],
            places.place_BL.to(device),
            self.readable(row_B),
            places.holder_UR,
            places.all_readable,
            places.masks,
        )

    def readable(self, row_B: Tensor) -> Tensor:
        """(B, N) whether each asset's newest candle is young enough to be read at the row."""
        return self.readable_TN[row_B - self._origin]


def bar_log_returns(panel: Panel, *, first: int = 0, last: int | None = None) -> NDArray[np.float64]:
    """(last - first + 1, N) log return from the previous known close to each bar's; 0 where no candle closed."""
    stop = len(panel.as_of_T) if last is None else last + 1
    start = max(first - 1, 0)
    return_TN = log_returns(panel.mark_price_TN[start:stop])[first - start :]
    return np.where(np.isfinite(return_TN) & np.asarray(panel.is_fresh_TN[first:stop]), return_TN, 0.0)


def trailing_volatility(panel: Panel, *, first: int = 0, last: int | None = None) -> NDArray[np.float64]:
    """(last - first + 1, N) root mean square of the fresh log returns of the trailing ``grid.block_bars`` bars (``span``).

    Causal: row t reads bars t - span + 1 .. t. NaN where no candle closed among them.
    """
    span = panel.grid.block_bars
    # Sums run in blocks of `span` bars counted from the panel's first, so a slice gives the same bits as the whole.
    origin = max(first // span - 1, 0) * span
    stop = len(panel.as_of_T) if last is None else last + 1
    return_TN = bar_log_returns(panel, first=origin, last=stop - 1)
    fresh_TN = np.asarray(panel.is_fresh_TN[origin:stop]).astype(np.float64)
    sum_TN = _trailing_sum(return_TN**2, span)[first - origin :]
    count_TN = _trailing_sum(fresh_TN, span)[first - origin :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count_TN >= 1, np.sqrt(sum_TN / count_TN), np.nan)


def _trailing_sum(value_TN: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    # Blocks of `span` bars, summed from each block's own start: no sum ever spans more than two blocks, so a
    # prefix of the panel gives the same bits and old bars leave no residue.
    bars, assets = value_TN.shape
    padded = -(-bars // span) * span
    block_GSN = np.zeros((padded, assets))
    block_GSN[:bars] = value_TN
    block_GSN = block_GSN.reshape(-1, span, assets)
    ahead_GSN = np.cumsum(block_GSN, axis=1)
    behind_GSN = np.cumsum(block_GSN[:, ::-1], axis=1)[:, ::-1]
    trailing_GSN = ahead_GSN.copy()
    # Row s of a block still holds rows s + 1 .. of the block before.
    trailing_GSN[1:, :-1] += behind_GSN[:-1, 1:]
    return trailing_GSN.reshape(-1, assets)[:bars]
