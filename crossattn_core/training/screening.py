"""Screening: which (source, lag) pairs tell a target's future, as a start for learned logits, and since when they do.

A fit that starts from equal weights has to find a lead among thousands of pairs by its gradient, and misses weak ones. A lead
is plain in a lagged correlation, so each pair is tested first: every feature of the source and its square, lag by lag, against
the target's label. What passes starts with weight; everything else shares what is left and can still be learned. Where the leads
of a target have changed (a new one stands out in the newest rows, an old one is gone from them), rows from before teach what is
no longer true.

Axes: T resident bars, R rows, N targets, M sources (the same assets), L lags (0 is the newest bar), X tested pairs of a target
(here L * M, all of them), O outputs, C channels (features and their squares).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import torch
from torch import Tensor

from crossattn_core.panel.windows import Windows

__all__ = ["LeadScreen", "changed_z", "channels", "lead_spans"]

_LARGEST_SHARE = 0.8
"""Of a start's weight, on pairs that pass: what screening did not see can still be learned."""
_CHANGED = 4.0
"""Standard errors between the newest rows and those before at which a lead has changed; several spans and pairs are tried."""
_FALSE_CHANGE = 1e-3
"""Odds, a span and a pair of each target, that a market that stays has a target past the bound of ``changed_z``."""
_SHORTEST_SPAN = 500
"""Rows that tell a change at the earliest."""
_LONGEST_SHARE = 0.8
"""Of all rows: what is left before must still tell what was."""


@dataclass(frozen=True)
class LeadScreen:
    """Tests of every pair on given rows: those known at the cut-off, held-out ones too, at a level that chance hardly passes."""

    windows: Windows
    row_R: Tensor
    """Panel rows, ascending."""
    target_RNO: Tensor
    """Their scaled labels, NaN where there is none."""
    weight_R: Tensor
    overlap_O: Tensor
    """Bars that neighbouring labels of an output share, at least 1."""
    lags: int

    def start(self) -> Tensor:
        """(O, N, L, M) share of a start's weight for each pair, ``_LARGEST_SHARE`` in all at most; 0 where none passes."""
        return self.start_ONX().unflatten(-1, (self.lags, -1))

    def start_ONX(self) -> Tensor:
        """``start``, pairs as they are tested."""
        return torch.stack([self._start(output) for output in range(self.target_RNO.shape[2])])

    def changed_since(self) -> Tensor:
        """(N,) panel row since which each target's leads at the next bar (output 0) are what they are now; 0: no change."""
        assets, rows = self.target_RNO.shape[1], len(self.row_R)
        since_N = torch.zeros(assets, dtype=torch.int64)
        spans = lead_spans(rows)
        if not spans:
            return since_N
        bound = changed_z(assets)
        evidence_NS = torch.zeros(assets, len(spans))
        is_changed_N = torch.zeros(assets, dtype=torch.bool)
        for n, x, c in self.is_lead_NXC.nonzero().tolist():
            difference_S = self._differences(*self._products(n, x, c), spans)
            evidence_NS[n] += difference_S**2
            is_changed_N[n] |= bool((difference_S > bound).any())
        first_S = self.row_R[rows - torch.tensor(spans)]
        return torch.where(is_changed_N, first_S[evidence_NS.argmax(dim=1)], since_N)

    @cached_property
    def is_lead_NXC(self) -> Tensor:
        """(N, X, C) what leads the next bar, over all rows or in the newest of some span."""
        rows = len(self.row_R)
        spans = lead_spans(rows)
        is_lead_NXC = self._odds(self._next_bar_z, 0, 0) > 0
        for span in spans:
            # A lead of the newest rows alone was looked for in every span.
            is_lead_NXC |= self._odds(self._z(0, rows - span), 0, rows - span) > 1 + math.log(len(spans))
        return is_lead_NXC

    @cached_property
    def _channel_TMC(self) -> Tensor:
        return channels(self.windows.bar_TNC)

    def _targets(self, output: int, first: int, targets: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """(R', N) centred labels times their weights from place ``first`` on, 0 where unknown; and the weights."""
        target_RN = self.target_RNO[first:, targets, output]
        weight_RN = torch.isfinite(target_RN) * self.weight_R[first:, None]
        filled_RN = target_RN.nan_to_num()
        return (filled_RN - (filled_RN * weight_RN).sum(dim=0) / weight_RN.sum(dim=0).clamp_min(1e-12)) * weight_RN, weight_RN

    @cached_property
    def _next_bar_z(self) -> Tensor:
        """(N, X, C) of output 0 over all rows: what both a change and a start are told from."""
        return self._z(0, 0)

    def _z(self, output: int, first: int) -> Tensor:
        """(N, X, C) how many standard errors each lagged product lies from 0, over the rows from place ``first`` on."""
        weighed_RN, _ = self._targets(output, first)
        place_R = self.row_R[first:] - self.windows.first_bar
        z_L: list[Tensor] = []
        for lag in range(self.lags):
            value_RX = self._channel_TMC[place_R - lag].flatten(1)
            # The variance of the product, row by row: wild bars meet wild bars.
            spread_NX = (weighed_RN**2).T @ value_RX**2
            z_NX = (weighed_RN.T @ value_RX) / spread_NX.clamp_min(1e-12).sqrt()
            z_L.append(z_NX.unflatten(1, self._channel_TMC.shape[1:]))
        z_NLMC = torch.stack(z_L, dim=1) / math.sqrt(float(self.overlap_O[output]))
        own_N = torch.arange(len(z_NLMC))
        z_NLMC[own_N, :, own_N] = 0.0
        return z_NLMC.flatten(1, 2)

    def _odds(self, z_NXC: Tensor, output: int, first: int) -> Tensor:
        """(N, X, C) log odds that a pair leads: unit-information prior on its size, one of all tests expected to lead."""
        _, weight_RN = self._targets(output, first)
        rows_N = weight_RN.sum(dim=0) ** 2 / (weight_RN**2).sum(dim=0).clamp_min(1e-12) / self.overlap_O[output]
        tests = max(len(z_NXC) - 1, 1) * self.lags * z_NXC.shape[2]
        return z_NXC**2 / 2 - 0.5 * rows_N.clamp_min(2.0).log()[:, None, None] - math.log(tests)

    def _start(self, output: int) -> Tensor:
        z_NXC = self._next_bar_z if output == 0 else self._z(output, 0)
        z_NX = z_NXC.abs().amax(dim=-1)
        probable_NX = self._odds(z_NXC, output, 0).amax(dim=-1).sigmoid() * self._is_other_NX
        strength_NX = probable_NX * z_NX
        share_N1 = _LARGEST_SHARE * probable_NX.sum(dim=1, keepdim=True).clamp_max(1.0)
        return share_N1 * strength_NX / strength_NX.sum(dim=1, keepdim=True).clamp_min(1e-12)

    @property
    def _is_other_NX(self) -> Tensor:
        """1 where a pair's source is not the target itself."""
        return (1.0 - torch.eye(self.target_RNO.shape[1])).repeat(1, self.lags)

    def _values(self, n: int, x: int, c: int) -> Tensor:
        """(R,) channel ``c`` of pair ``x`` of target ``n``."""
        lag, m = divmod(x, self.target_RNO.shape[1])
        return self._channel_TMC[:, m, c][self.row_R - self.windows.first_bar - lag]

    def _products(self, n: int, x: int, c: int) -> tuple[Tensor, Tensor]:
        """(R,) product of a pair's channel and the target's next bar, and where both are known."""
        target_R = self.target_RNO[:, n, 0]
        value_R = self._values(n, x, c)
        known_R = torch.isfinite(target_R) & (self.weight_R > 0) & (value_R != 0)
        return target_R.nan_to_num() * value_R, known_R

    def _differences(self, product_R: Tensor, known_R: Tensor, spans: list[int]) -> Tensor:
        """(S,) standard errors between the mean product of the newest rows and that of the rows before; 0 where few are known."""
        differences: list[float] = []
        for span in spans:
            new, old = product_R[-span:][known_R[-span:]], product_R[:-span][known_R[:-span]]
            if min(len(new), len(old)) < _SHORTEST_SPAN // 2:
                differences.append(0.0)
                continue
            error = math.sqrt(float(new.var()) / len(new) + float(old.var()) / len(old))
            differences.append(abs(float(new.mean() - old.mean())) / max(error, 1e-12))
        return torch.tensor(differences)


def changed_z(targets: int) -> float:
    """Standard errors at which a lead of one of so many targets has changed: the more targets, the more often one does by chance.

    >>> changed_z(6), round(changed_z(1000), 2)
    (4.0, 4.89)
    """
    return max(_CHANGED, -NormalDist().inv_cdf(_FALSE_CHANGE / (2 * targets)))


def channels(bar_TMC: Tensor) -> Tensor:
    """(T, M, C) features of bars (the last channel says whether there was one) and their squares, centred and in deviations; 0
    where an asset was silent."""
    channel_TMC, seen_TM1 = torch.cat([bar_TMC[..., :-1], bar_TMC[..., :-1] ** 2], dim=-1), bar_TMC[..., -1:]
    count_M1 = seen_TM1.sum(dim=0).clamp_min(1.0)
    channel_TMC = (channel_TMC - (channel_TMC * seen_TM1).sum(dim=0) / count_M1) * seen_TM1
    return channel_TMC / ((channel_TMC**2).sum(dim=0) / count_M1).sqrt().clamp_min(1e-6)


def lead_spans(rows: int) -> list[int]:
    """Numbers of newest rows, each the one before times the root of two.

    >>> lead_spans(2000)
    [500, 707, 1000, 1414]
    """
    spans, span = [], float(_SHORTEST_SPAN)
    while span <= _LONGEST_SHARE * rows:
        spans.append(int(span))
        span *= math.sqrt(2)
    return spans
