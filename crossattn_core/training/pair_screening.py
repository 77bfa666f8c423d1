"""Screening of large universes: which (source, lag) pairs of a target are worth a logit at all.

Every pair is scored once by its lagged products, on rows that a fit trains on: pairs that were chosen on the held-out rows
would look good there. What is known of the held-out rows can only add a pair that chance hardly passes. The exact tests of
screening.py are then made of the chosen pairs alone.

Axes: T resident bars, R rows, P panel rows from the first of them to the last, N targets, M sources (the same assets), L lags,
S = M * L all pairs (source first), X chosen pairs, K those that a target attends over, V tests of them, O outputs, C channels.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from crossattn_core.training.screening import LeadScreen, channels, lead_spans

__all__ = ["PairScreen"]

_TARGETS, _SOURCES = 256, 64
"""Assets that are scored at once: scores of all pairs are held for so many targets."""
_NEWEST = 16
"""Pairs a target that are tested for what they are in the newest rows, held-out ones too."""
_FIRST = 1e3
"""Added to a score: before any that is a number of standard errors."""


@dataclass(frozen=True)
class PairScreen(LeadScreen):
    """Tests of X pairs of each target. Memory: features and squares of all bars (T * M * C), else O(N * X * C)."""

    channel_MCT: Tensor
    pair_NX: Tensor
    """``source * L + lag``, ascending for each target."""
    score_NX: Tensor
    """Standard errors from 0 on training rows, the largest of any channel and output; more where the pair was kept."""

    @classmethod
    def of(cls, screen: LeadScreen, train_target_RNO: Tensor, pairs: int, kept_NX: Tensor | None = None) -> "PairScreen":
        """The ``pairs`` best on training rows, and a few that the newest rows tell.

        Args:
            train_target_RNO: the screen's targets as far as training may know them, NaN elsewhere.
            kept_NX: pairs that are tested in any case, -1 where there is none; at most ``pairs`` a target.
        """
        bar_TMC = screen.windows.bar_TNC
        channel_MCT = torch.empty(bar_TMC.shape[1], 2 * (bar_TMC.shape[2] - 1), bar_TMC.shape[0])
        for sources in _blocks(len(channel_MCT), _SOURCES):
            channel_MCT[sources] = channels(bar_TMC[:, sources]).permute(1, 2, 0)
        chosen: list[tuple[Tensor, Tensor]] = []
        for targets in _blocks(len(channel_MCT), _TARGETS):
            score_NS, newest_NS = _scores(screen, train_target_RNO, channel_MCT, targets)
            recent_NX = newest_NS.topk(min(_NEWEST, newest_NS.shape[1]), dim=1).indices
            rank_NS = score_NS.scatter_add(1, recent_NX, torch.full(recent_NX.shape, _FIRST))
            if kept_NX is not None:
                is_kept_NX = kept_NX[targets] >= 0
                added_NX = 2 * _FIRST * is_kept_NX
                rank_NS.scatter_add_(1, kept_NX[targets].clamp_min(0), added_NX)
                score_NS.scatter_add_(1, kept_NX[targets].clamp_min(0), added_NX)
            tested = min(pairs + _NEWEST, rank_NS.shape[1] - screen.lags)
            pair_NX = rank_NS.topk(tested, dim=1).indices.sort(dim=1).values
            chosen.append((pair_NX, score_NS.gather(1, pair_NX)))
        pair_NX, score_NX = (torch.cat(parts) for parts in zip(*chosen, strict=True))
        return cls(
            screen.windows,
            screen.row_R,
            screen.target_RNO,
            screen.weight_R,
            screen.overlap_O,
            screen.lags,
            channel_MCT,
            pair_NX,
            score_NX,
        )

    def chosen(self, pairs: int) -> Tensor:
        """(N, K) places in X, ascending: first what passes the tests, then the best on training rows."""
        passes_NX = self.is_lead_NXC.any(dim=-1)
        for output in range(1, self.target_RNO.shape[2]):
            passes_NX |= (self._odds(self._z(output, 0), output, 0) > 0).any(dim=-1)
        return (self.score_NX + _FIRST * passes_NX).topk(pairs, dim=1).indices.sort(dim=1).values

    @property
    def _is_other_NX(self) -> Tensor:
        return (self.pair_NX // self.lags != torch.arange(len(self.pair_NX))[:, None]).float()

    def _values(self, n: int, x: int, c: int) -> Tensor:
        source, lag = divmod(int(self.pair_NX[n, x]), self.lags)
        return self.channel_MCT[source, c, self.row_R - self.windows.first_bar - lag]

    def _z(self, output: int, first: int) -> Tensor:
        return self._every_z[output, first]

    @cached_property
    def _every_z(self) -> dict[tuple[int, int], Tensor]:
        """All that is asked for at once: a pair's values are read from memory one time."""
        rows = len(self.row_R)
        asked = [(output, 0) for output in range(self.target_RNO.shape[2])] + [(0, rows - span) for span in lead_spans(rows)]
        first, count = int(self.row_R[0]), int(self.row_R[-1] - self.row_R[0]) + 1
        overlap_V = torch.tensor([float(self.overlap_O[output]) for output, _ in asked])
        z_NXCV = torch.empty(*self.pair_NX.shape, self.channel_MCT.shape[1], len(asked))
        for targets in _blocks(len(self.pair_NX), _SOURCES):
            weighed_PVN = torch.zeros(count, len(asked), targets.stop - targets.start)
            for v, (output, skipped) in enumerate(asked):
                weighed_PVN[self.row_R[skipped:] - first, v] = self._targets(output, skipped, targets)[0]
            for n, weighed_PV in zip(range(targets.start, targets.stop), weighed_PVN.unbind(2), strict=True):
                weighed_PV, squared_PV = weighed_PV.contiguous(), weighed_PV**2
                for x, pair in enumerate(self.pair_NX[n].tolist()):
                    source, lag = divmod(pair, self.lags)
                    start = first - self.windows.first_bar - lag
                    # Where they lie: what is copied together for a target takes twice as long.
                    value_CP = self.channel_MCT[source, :, start : start + count]
                    # The variance of the product, row by row: wild bars meet wild bars.
                    spread_CV = value_CP.square() @ squared_PV
                    z_NXCV[n, x] = value_CP @ weighed_PV / spread_CV.clamp_min(1e-12).sqrt() / overlap_V.sqrt()
        return {key: z_NXCV[..., v] for v, key in enumerate(asked)}


def _scores(screen: LeadScreen, train_target_RNO: Tensor, channel_MCT: Tensor, targets: slice) -> tuple[Tensor, Tensor]:
    """(N, S) for the given targets: the largest |z| of a pair on training rows, and the largest in the newest rows of any span.

    The variance of a product is here that of independent factors, which needs no second product; an asset's own past gets -inf.
    """
    rows, first = len(screen.row_R), int(screen.row_R[0])
    trains_R = torch.isfinite(train_target_RNO[:, :, 0]).any(dim=1)
    held_out = rows - int(trains_R.nonzero().max()) - 1 if bool(trains_R.any()) else rows
    spans = [*lead_spans(rows), rows]
    stops = sorted({0, held_out, *spans})
    assets, lags = len(channel_MCT), screen.lags
    score_NML = torch.zeros(targets.stop - targets.start, assets, lags)
    newest_NML = torch.zeros_like(score_NML)
    weighed_ONP = torch.zeros(train_target_RNO.shape[2], len(score_NML), int(screen.row_R[-1]) - first + 1)
    trained = replace(screen, target_RNO=train_target_RNO)
    for output in range(len(weighed_ONP)):
        # The next bar is scored on all rows too, and cut into training rows below.
        known = screen if output == 0 else trained
        weighed_ONP[output][:, screen.row_R - first] = known._targets(output, 0, targets)[0].T
    place_R = screen.row_R - first
    bounds = [int(place_R[rows - stop]) if stop else weighed_ONP.shape[2] for stop in stops]
    per_error_ON = 1 / (
        (weighed_ONP**2).sum(dim=2).clamp_min(1e-12).sqrt() * screen.overlap_O[: len(weighed_ONP), None].float().sqrt()
    )
    train_stop = bounds[stops.index(held_out)]
    per_error_train_N = 1 / (weighed_ONP[0, :, :train_stop] ** 2).sum(dim=1).clamp_min(1e-12).sqrt()
    for sources in _blocks(assets, _SOURCES):
        value_YT = channel_MCT[sources].flatten(0, 1)
        for lag in range(lags):
            start = first - screen.windows.first_bar - lag
            value_YP = value_YT[:, start : start + weighed_ONP.shape[2]]

            def largest(product_NY: Tensor, per_error_N: Tensor, sources: slice = sources) -> Tensor:
                return product_NY.abs().unflatten(1, (sources.stop - sources.start, -1)).amax(dim=2) * per_error_N[:, None]

            newest_NY = torch.zeros(len(score_NML), len(value_YP))
            trained_NY = torch.zeros_like(newest_NY)
            for stop, end, begin in zip(stops[1:], bounds, bounds[1:], strict=False):
                part_NY = weighed_ONP[0, :, begin:end] @ value_YP[:, begin:end].T
                newest_NY += part_NY
                if end <= train_stop:
                    trained_NY += part_NY
                if stop in spans:
                    per_error_N = 1 / (weighed_ONP[0, :, begin:] ** 2).sum(dim=1).clamp_min(1e-12).sqrt()
                    newest_NML[:, sources, lag] = newest_NML[:, sources, lag].maximum(largest(newest_NY, per_error_N))
            score_NML[:, sources, lag] = largest(trained_NY, per_error_train_N)
            for weighed_NP, per_error_N in zip(weighed_ONP[1:], per_error_ON[1:], strict=True):
                z_NM = largest(weighed_NP @ value_YP.T, per_error_N)
                score_NML[:, sources, lag] = score_NML[:, sources, lag].maximum(z_NM)
    own_N = torch.arange(targets.start, targets.stop)
    for of_NML in (score_NML, newest_NML):
        of_NML[torch.arange(len(own_N)), own_N] = -math.inf
    return score_NML.flatten(1), newest_NML.flatten(1)


def _blocks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
