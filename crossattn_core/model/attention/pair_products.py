"""Weighted values of few (source, lag) pairs a target: a sparse matrix product on a CPU, gathered rows elsewhere.

A target's weights are one row of a sparse matrix over all pairs. Its product with the values of a batch reads every value that
it needs from a row of B * J numbers that lie side by side, 5 times as fast on one core as gathering them for each decision row,
and the gradient of the weights is made at the K pairs alone.

Axes: B decision rows, U distinct bars, N targets, M sources, L lags, K pairs of a target, S = M * L all pairs,
H heads, J width of a head's value, E = B * J, Q pairs that hold a source. A source's pairs lie side by
side in S, its oldest lag first.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from crossattn_core.panel.windows import taken

__all__ = ["PairPattern", "gathered_products", "products_by_source", "sparse_products"]

_PIECE = 16
"""Rows that go through a product together: their values of one head, 1,000 assets and 24 lags are 6 MB."""
_SHORT_RUN = 4
"""Rows on average from which on runs of neighbours are copied run by run."""


@dataclass(frozen=True)
class PairPattern:
    """Which pairs each target reads, as a sparse (N, S) matrix without its numbers, and as its transpose."""

    source_NK: Tensor
    lag_NK: Tensor
    shape: tuple[int, int]
    start_N: Tensor
    """(N + 1,) where each target's pairs start: rows of a compressed sparse matrix."""
    column_P: Tensor
    start_S: Tensor
    row_P: Tensor
    order_P: Tensor
    """Places of the N * K pairs in the order of the transpose."""

    @classmethod
    def of(cls, pair_NK: Tensor, lags: int) -> "PairPattern":
        """Of pairs ``source * lags + lag``, ascending for each target."""
        targets, count = pair_NK.shape
        # Oldest lag first, as bars lie: those behind neighbouring rows are then copied as they are.
        column_P = (pair_NK - 2 * (pair_NK % lags) + lags - 1).flatten()
        order_P = torch.argsort(column_P, stable=True)
        row_P = torch.arange(targets, device=pair_NK.device).repeat_interleave(count)
        # Where each pair's places start among the sorted ones.
        start_S = torch.searchsorted(column_P[order_P], torch.arange(targets * lags + 1, device=pair_NK.device))
        return cls(
            pair_NK // lags,
            pair_NK % lags,
            (targets, targets * lags),
            torch.arange(targets + 1, device=pair_NK.device) * count,
            column_P,
            start_S,
            row_P[order_P],
            order_P,
        )

    def matrix(self, weight_NK: Tensor) -> Tensor:
        """(N, S) sparse."""
        return _sparse(self.start_N, self.column_P, weight_NK.flatten(), self.shape)

    def transposed(self, weight_NK: Tensor) -> Tensor:
        """(S, N) sparse."""
        return _sparse(self.start_S, self.row_P, weight_NK.flatten()[self.order_P], (self.shape[1], self.shape[0]))


with warnings.catch_warnings():
    # Torch says once a process that compressed sparse tensors are in beta.
    warnings.simplefilter("ignore", UserWarning)
    torch.sparse_csr_tensor(torch.zeros(2, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0), (1, 1))


def _sparse(start: Tensor, index: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(start, index, value, shape, check_invariants=False)


def sparse_products(
    weight_HNK: Tensor,
    value_UMHJ: Tensor,
    place_BL: Tensor,
    readable_BM: Tensor | None,
    pattern: PairPattern,
    ahead: tuple[int, int] | None = None,
) -> Tensor:
    """(B, N, H, J) sum over a target's pairs of weight times value; on a CPU whose torch has sparse products (MKL).

    Rows go a piece at a time: memory is that of one head's values of a piece, L * M * J times at most 2 * ``_PIECE`` rows, which
    takes a third of the time that a whole batch of many assets does. Nothing has size B * N * K.

    Args:
        place_BL: where the bar of each lag lies in U.
        readable_BM: values of sources that a row may not read count 0; none where all may be read.
        ahead: (first, last): each pair's value is the sum over ``first`` .. ``last`` bars later, bars to come being empty.
    """
    mixed_HNE = _SparseProduct.apply(weight_HNK, value_UMHJ, place_BL, readable_BM, pattern, ahead)
    return mixed_HNE.unflatten(-1, (len(place_BL), -1)).permute(2, 1, 0, 3)  # pyright: ignore[reportOptionalMemberAccess]


class _SparseProduct(torch.autograd.Function):
    """Heads one after the other; their values are spread over lags again for the gradient, not kept."""

    @staticmethod
    def forward(
        ctx: Any,
        weight_HNK: Tensor,
        value_UMHJ: Tensor,
        place_BL: Tensor,
        readable_BM: Tensor | None,
        pattern: PairPattern,
        ahead: tuple[int, int] | None,
    ) -> Tensor:
        ctx.save_for_backward(weight_HNK, value_UMHJ)
        ctx.pattern, ctx.pieces = pattern, _pieces(place_BL, readable_BM, ahead)
        mixed_HNBJ = value_UMHJ.new_empty(*weight_HNK.shape[:2], len(place_BL), value_UMHJ.shape[-1])
        for head, weight_NK in enumerate(weight_HNK):
            matrix_NS, value_MUJ = pattern.matrix(weight_NK), value_UMHJ[:, :, head].transpose(0, 1).contiguous()
            for piece in ctx.pieces:
                mixed_NE = matrix_NS @ piece.spread(value_MUJ)
                mixed_HNBJ[head, :, piece.rows] = mixed_NE.unflatten(1, (-1, value_MUJ.shape[-1]))
        return mixed_HNBJ.flatten(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        weight_HNK, value_UMHJ = ctx.saved_tensors
        pattern, (gradient_HNE,) = ctx.pattern, gradients
        gradient_HNBJ = gradient_HNE.unflatten(-1, (-1, value_UMHJ.shape[-1]))
        of_weight_HNK, of_value_UMHJ = torch.zeros_like(weight_HNK), torch.empty_like(value_UMHJ)
        none_NS = pattern.matrix(torch.zeros_like(weight_HNK[0]))
        for head, weight_NK in enumerate(weight_HNK):
            transposed_SN, value_MUJ = pattern.transposed(weight_NK), value_UMHJ[:, :, head].transpose(0, 1).contiguous()
            of_value_MUJ = torch.zeros_like(value_MUJ)
            for piece in ctx.pieces:
                gradient_NE = gradient_HNBJ[head, :, piece.rows].flatten(1)
                of_weight_NS = torch.sparse.sampled_addmm(none_NS, gradient_NE, piece.spread(value_MUJ).T, beta=0.0)
                of_weight_HNK[head] += of_weight_NS.values().view_as(weight_NK)
                piece.add_back(of_value_MUJ, transposed_SN @ gradient_NE)
            of_value_UMHJ[:, :, head] = of_value_MUJ.transpose(0, 1)
        return of_weight_HNK, of_value_UMHJ, None, None, None, None


@dataclass(frozen=True)
class _Piece:
    """A few rows of a batch."""

    rows: slice
    place_BL: Tensor
    """Of these rows."""
    runs: list[slice] | None
    """Rows of the piece that are each one bar later than the one before, with their bars side by side in U; none: not such."""
    readable_BM: Tensor | None
    ahead: tuple[int, int] | None

    def spread(self, value_MUJ: Tensor) -> Tensor:
        """(S, E) what each pair holds at each row."""
        (batch, lags), width = self.place_BL.shape, value_MUJ.shape[-1]
        if self.runs is None:
            value_MLBJ = value_MUJ.index_select(1, self.place_BL.flip(1).T.flatten()).unflatten(1, (lags, batch))
        else:
            value_MLBJ = value_MUJ.new_empty(len(value_MUJ), lags, batch, width)
            for rows in self.runs:
                value_MLBJ[:, :, rows] = self._of_run(value_MUJ, rows)
        if self.readable_BM is not None:
            value_MLBJ = value_MLBJ * self.readable_BM.T[:, None, :, None]
        if self.ahead is not None:
            # What is l bars back now is l + s bars back s bars later: bars l - last .. l - first are read, none below 0.
            before_MLBJ = functional.pad(value_MLBJ.cumsum(dim=1), (0, 0, 0, 0, 1, 0))
            start_L, stop_L = self._ahead_bounds(self.ahead)
            value_MLBJ = before_MLBJ.index_select(1, stop_L) - before_MLBJ.index_select(1, start_L)
        return value_MLBJ.reshape(-1, batch * width)

    def add_back(self, of_value_MUJ: Tensor, of_spread_SE: Tensor) -> None:
        """Add to the gradient of values what that of ``spread`` of them says."""
        batch, lags = self.place_BL.shape
        of_MLBJ = of_spread_SE.view(len(of_value_MUJ), lags, batch, -1)
        if self.ahead is not None:
            start_L, stop_L = self._ahead_bounds(self.ahead)
            of_before = of_MLBJ.new_zeros(len(of_MLBJ), lags + 1, *of_MLBJ.shape[2:])
            of_before = of_before.index_add(1, stop_L, of_MLBJ).index_add(1, start_L, -of_MLBJ)[:, 1:]
            of_MLBJ = of_before.flip(1).cumsum(1).flip(1)
        if self.readable_BM is not None:
            of_MLBJ = of_MLBJ * self.readable_BM.T[:, None, :, None]
        if self.runs is None:
            of_value_MUJ.index_add_(1, self.place_BL.flip(1).T.flatten(), of_MLBJ.flatten(1, 2))
            return
        for rows in self.runs:
            # A lag at a time: bars of different lags overlap.
            for of_run_MBJ, of_MBJ in zip(self._of_run(of_value_MUJ, rows).unbind(1), of_MLBJ[:, :, rows].unbind(1), strict=True):
                of_run_MBJ += of_MBJ

    def _of_run(self, value_MUJ: Tensor, rows: slice) -> Tensor:
        """(M, L, B, J) of a run, oldest bar first: a view."""
        lags = self.place_BL.shape[1]
        oldest, count = int(self.place_BL[rows.start, -1]), rows.stop - rows.start
        return value_MUJ[:, oldest : oldest + lags + count - 1].unfold(1, count, 1).transpose(2, 3)

    def _ahead_bounds(self, ahead: tuple[int, int]) -> tuple[Tensor, Tensor]:
        lags = self.place_BL.shape[1]
        place_L = torch.arange(lags)
        return (place_L + ahead[0]).clamp_max(lags), (place_L + ahead[1] + 1).clamp_max(lags)


def _pieces(place_BL: Tensor, readable_BM: Tensor | None, ahead: tuple[int, int] | None) -> list[_Piece]:
    """The rows in pieces of up to twice ``_PIECE``, a run whole where it is not longer."""
    batch, lags = place_BL.shape
    starts = [0, *((place_BL[:, 0].diff() != 1).nonzero().flatten() + 1).tolist(), batch]
    in_runs = batch >= _SHORT_RUN * (len(starts) - 1)
    in_runs &= bool((place_BL == place_BL[:, :1] - torch.arange(lags)).all())
    if not in_runs:
        starts = [0, batch]
    # A long run, one of inference, in several.
    starts = [cut for start, stop in pairwise(starts) for cut in range(start, stop, _PIECE)] + [batch]
    pieces: list[_Piece] = []
    first = 0
    for last, stop in enumerate(starts[1:], start=1):
        if stop - starts[first] >= _PIECE or stop == batch:
            rows = slice(starts[first], stop)
            runs = [slice(a - rows.start, b - rows.start) for a, b in pairwise(starts[first : last + 1])] if in_runs else None
            pieces.append(_Piece(rows, place_BL[rows], runs, None if readable_BM is None else readable_BM[rows], ahead))
            first = last
    return pieces


def gathered_products(weight_XHNK: Tensor, value_UMHJ: Tensor, place_BL: Tensor, pattern: PairPattern) -> Tensor:
    """(B, N, H, J) the same by gathering: weights may differ by row (X is B, else 1). Memory B * N * K * H * J."""
    pair_BNKHJ = gathered(value_UMHJ, place_BL, pattern)
    if len(weight_XHNK) == 1:
        return torch.einsum("hnk,bnkhj->bnhj", weight_XHNK[0], pair_BNKHJ)
    return torch.einsum("bhnk,bnkhj->bnhj", weight_XHNK, pair_BNKHJ)


def products_by_source(
    weight_ZHNK: Tensor, place_B: Tensor | None, values: Iterable[Tensor], pattern: PairPattern
) -> Iterator[Tensor]:
    """(B, N, H, J) what source 0, 1, ... adds to the weighted sum, one after the other: each touches the targets that read it.

    Args:
        place_B: which of the weights a row uses; none where Z is 1, or B.
        values: (B, L, H, J) of each source.
    """
    targets, lags = pattern.shape[0], pattern.shape[1] // pattern.shape[0]
    # In the transpose a source's pairs lie side by side.
    weight_ZHP, lag_P = weight_ZHNK.flatten(2)[..., pattern.order_P], pattern.lag_NK.flatten()[pattern.order_P]
    starts = pattern.start_S[::lags].tolist()
    for first, last, value_BLHJ in zip(starts, starts[1:], values, strict=False):
        weight_ZQH = weight_ZHP[..., first:last].transpose(1, 2)
        weight_XQH = weight_ZQH if place_B is None else weight_ZQH[place_B]
        part_BQHJ = weight_XQH[..., None] * value_BLHJ[:, lag_P[first:last]]
        none_BNHJ = part_BQHJ.new_zeros(len(value_BLHJ), targets, *value_BLHJ.shape[2:])
        yield none_BNHJ.index_add(1, pattern.row_P[first:last], part_BQHJ)


def gathered(value_UMHJ: Tensor, place_BL: Tensor, pattern: PairPattern) -> Tensor:
    """(B, N, K, H, J) what each pair holds at each decision row."""
    bar_BNK = place_BL[:, pattern.lag_NK]
    row_X = (bar_BNK * value_UMHJ.shape[1] + pattern.source_NK).flatten()
    return taken(value_UMHJ.flatten(0, 1), row_X).view(*bar_BNK.shape, *value_UMHJ.shape[2:])
