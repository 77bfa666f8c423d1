"""The encoder stack: layers of temporal self-attention followed by cross-asset attention, over tokens of patches.

    bars -> patches + positions + asset -> [ self-attention over time -> cross-asset attention -> feed-forward ] x layers

Cross-asset attention is any variant of model/attention, on patches in place of bars: at each step an asset reads the others'
patches at that step and before. No step reads a later one, in no layer.

Axes: B decision rows, N assets, M sources (the same assets), L bars of a window, P patches of it, Q patches of it that a layer
gives, U tokens that a layer reads, R = B * Q rows of attention, C channels of a bar, D width, H heads, K head width, W lags in
patches (0 is the newest).
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION, AssetTokens
from crossattn_core.model.encoders.temporal import CausalLayer, window_embedding
from crossattn_core.model.parameters import initialise_maps
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.row_masks import RowMasks
from crossattn_core.panel.windows import RecentBars

__all__ = ["EncoderStack", "Heard", "positions"]


class Heard(NamedTuple):
    """Which tokens say anything: what a silent patch or an unreadable asset holds reaches nobody else."""

    fresh_BNP: Tensor
    """1 where the asset had a candle within the patch."""
    readable_BN: Tensor
    """Whether the others may read the asset at the decision row."""
    known_readable: bool | None = None
    """Whether all are readable, as in ``RecentBars``."""
    known_masks: RowMasks | None = None
    """As in ``RecentBars``."""
    with_holders: bool = False
    """Whether gradients are gathered by tables, as those of padded batches are."""

    @classmethod
    def of(cls, bar_BNLC: Tensor, readable_BN: Tensor, patch: int) -> "Heard":
        """By the fresh flag, the last channel of each bar."""
        return cls(bar_BNLC[..., -1].unflatten(2, (-1, patch)).amax(dim=-1), readable_BN)

    def known_from(self, recent: RecentBars) -> "Heard":
        """With what was found before about the rows."""
        return self._replace(
            known_readable=recent.known_readable, known_masks=recent.known_masks, with_holders=recent.holder_UR is not None
        )


class EncoderStack(nn.Module):
    """Windows of all assets to one summary an asset, and the cross-asset attention of every layer."""

    place_PD: Tensor
    """What tells how far each patch lies from the newest."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__()
        self._patch = settings.patch
        self.lags = -(-settings.max_lag // settings.patch)
        """Patches back that cross-asset attention reads, the newest among them."""
        self.curve = nn.Linear(shape.channels, settings.width // 2)
        self.embed = window_embedding(shape.channels + settings.width // 2, settings)
        self.identity_ND = nn.Parameter(torch.zeros(shape.assets, settings.width))
        self.layers = nn.ModuleList([_EncoderLayer(shape, settings, self.lags) for _ in range(settings.layers)])
        self.norm = nn.LayerNorm(settings.width)
        self.register_buffer("place_PD", positions(settings.lookback // settings.patch, settings.width), persistent=False)
        initialise_maps(self)
        for layer in self._layers:
            layer.mirror_heads()

    @property
    def _layers(self) -> "list[_EncoderLayer]":
        return cast("list[_EncoderLayer]", list(self.layers))

    @property
    def reads_others(self) -> bool:
        """Whether there is cross-asset attention at all."""
        return self._layers[0].cross.reads_others

    def forward(self, bar_BNLC: Tensor, heard: Heard, kept_B: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """(B, N, L, C) to the newest patch's token (B, N, D), and each layer's weights there (B, H, N, M, W).

        Args:
            kept_B: factor of what the others say, one a row: 0 leaves every asset alone with its own window.
        """
        token_BNPD = self.embedded(bar_BNLC)
        weights = []
        for depth, layer in enumerate(self._layers):
            # The last layer gives the newest token only: its other rows would be thrown away.
            token_BNPD, weight_BHNMW = layer(token_BNPD, heard, kept_B, newest=depth == len(self.layers) - 1)
            weights.append(weight_BHNMW)
        return self.norm(token_BNPD[:, :, -1]), weights

    def alone(self, bar_BNLC: Tensor) -> Tensor:
        """(B, N, D) as though there were no other asset."""
        token_BNPD = self.embedded(bar_BNLC)
        for depth, layer in enumerate(self._layers):
            token_BNPD = layer.alone(token_BNPD, newest=depth == len(self.layers) - 1)
        return self.norm(token_BNPD[:, :, -1])

    def embedded(self, bar_BNLC: Tensor) -> Tensor:
        """(B, N, P, D) tokens before any attention."""
        # A patch is a linear map of its bars: what a lead does with the size of a move has to be bent bar by bar.
        embedded_BNPD = self.embed(torch.cat([bar_BNLC, functional.relu(self.curve(bar_BNLC))], dim=-1))
        steps, width = embedded_BNPD.shape[2:]
        place_PD = self.place_PD[-steps:] if steps <= len(self.place_PD) else positions(steps, width)
        return embedded_BNPD + place_PD.to(embedded_BNPD) + self.identity_ND[:, None, :]

    def start_from(self, share_NLM: Tensor, *, learned: bool) -> None:
        """Start the attention of every layer at screened pairs: the patch that holds a lag gets its share."""
        share_NWM = share_NLM.new_zeros(share_NLM.shape[0], self.lags, share_NLM.shape[2])
        share_NWM.index_add_(1, torch.arange(share_NLM.shape[1]) // self._patch, share_NLM)
        for layer in self._layers:
            layer.start_from(share_NWM, learned=learned)

    def over_bars(self, weight_BHNMW: Tensor, lags: int) -> Tensor:
        """(B, H, N, M, L) weights of patches, each spread evenly over those of its bars that lie among the newest ``lags``."""
        bar_L = torch.arange(lags, device=weight_BHNMW.device) // self._patch
        held_W = (bar_L == torch.arange(weight_BHNMW.shape[-1], device=bar_L.device)[:, None]).sum(dim=1)
        return (weight_BHNMW / held_W.clamp_min(1))[..., bar_L]

    def prepare(self, readable_GM: Tensor | None, drift: float) -> bool:
        """As ``CrossAttention.prepare``."""
        return any([layer.cross.prepare(readable_GM, drift) for layer in self._layers])

    def logit_parameters(self) -> list[nn.Parameter]:
        """Attention logits of every layer."""
        return [parameter for layer in self._layers for parameter in layer.cross.logit_parameters()]


class _EncoderLayer(nn.Module):
    """Pre-norm self-attention over time, cross-asset attention, feed-forward; each a residual part."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings, lags: int) -> None:
        super().__init__()
        self._lags = lags
        self.time = CausalLayer(settings.width, settings.heads, settings.dropout)
        of_patches = settings.model_copy(
            update={"max_lag": lags, "value_width": settings.width // settings.heads, "candidate_pairs": "all"}
        )
        self.norm_cross = nn.LayerNorm(settings.width)
        self.cross = ATTENTION.get(settings.cross_attention)(shape, of_patches)
        self.out = nn.Linear(settings.heads * self.cross.head_width, settings.width, bias=False)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, token_BNPD: Tensor, heard: Heard, kept_B: Tensor | None, *, newest: bool) -> tuple[Tensor, Tensor]:
        """(B, N, Q, D) tokens, and the weights at the newest step (B, H, N, M, W)."""
        # A layer that gives the newest token alone still reads the others' newest `lags`.
        read = self._lags if newest else 0
        token_BNPD = self.time.attend(token_BNPD.flatten(0, 1), newest=read).unflatten(0, token_BNPD.shape[:2])
        asked = 1 if newest else token_BNPD.shape[2]
        context_RNHK, weight_RHNMW = self.cross(self._tokens(self.norm_cross(token_BNPD), heard, asked))
        said_BQND = self.dropout(self.out(context_RNHK.flatten(2))).unflatten(0, (-1, asked))
        if kept_B is not None:
            said_BQND = said_BQND * kept_B[:, None, None, None]
        token_BNQD = token_BNPD[:, :, token_BNPD.shape[2] - asked :] + said_BQND.transpose(1, 2)
        return self.time.feed_forward(token_BNQD), weight_RHNMW.unflatten(0, (-1, asked))[:, -1]

    def alone(self, token_BNPD: Tensor, *, newest: bool) -> Tensor:
        """(B, N, Q, D) tokens with the cross-asset attention left out."""
        return self.time(token_BNPD.flatten(0, 1), newest=int(newest)).unflatten(0, token_BNPD.shape[:2])

    def _tokens(self, token_BNPD: Tensor, heard: Heard, asked: int) -> AssetTokens:
        """Every (row, step) as a decision row of its own, whose bars are the patches up to that step."""
        batch, _, steps, _ = token_BNPD.shape
        token_UMD = token_BNPD.transpose(1, 2).flatten(0, 1)
        fresh_UM = heard.fresh_BNP[:, :, heard.fresh_BNP.shape[2] - steps :].transpose(1, 2).flatten(0, 1)
        step_Q = torch.arange(steps - asked, steps, device=token_BNPD.device)
        step_QW = step_Q[:, None] - torch.arange(self._lags, device=token_BNPD.device)
        place_BQW = torch.arange(batch, device=token_BNPD.device)[:, None, None] * steps + step_QW
        # Before the window's first patch there is silence: one empty token serves all.
        place_BQW = torch.where(step_QW >= 0, place_BQW, batch * steps)
        bars = RecentBars(
            torch.cat([fresh_UM, torch.zeros_like(fresh_UM[:1])])[..., None],
            place_BQW.flatten(0, 1),
            heard.readable_BN.repeat_interleave(asked, dim=0),
            _holders(batch, steps, asked, self._lags, token_UMD.device) if heard.with_holders else None,
            known_readable=heard.known_readable,
            known_masks=None if heard.known_masks is None else heard.known_masks.repeated(asked),
        )
        return AssetTokens(torch.cat([token_UMD, torch.zeros_like(token_UMD[:1])]), bars)

    def start_from(self, share_NWM: Tensor, *, learned: bool) -> None:
        """All heads alike: each feeds every output."""
        heads = self.out.in_features // self.cross.head_width
        self.cross.start_from(share_NWM.expand(heads, -1, -1, -1), learned=learned)

    def mirror_heads(self) -> None:
        """Heads start in mirrored pairs, as those of the parallel network do: one of two has the right sign of a lead."""
        out_DHK = self.out.weight.data.unflatten(1, (-1, self.cross.head_width))
        for first in range(0, out_DHK.shape[1] - 1, 2):
            self.cross.share_values(first, first + 1)
            out_DHK[:, first + 1] = -out_DHK[:, first]


def _holders(batch: int, steps: int, asked: int, lags: int, device: torch.device) -> Tensor:
    """(B * P + 1, W) ``RecentBars.holder_UR`` of such places: those among (B * Q, W) that hold each token, B * Q * W in what is
    left over. The silence has none: nothing is learned from it."""
    row_B11, lag_W = torch.arange(batch, device=device)[:, None, None], torch.arange(lags, device=device)
    # Token p is what is w back at step p + w.
    asking_PW = torch.arange(steps, device=device)[:, None] + lag_W - (steps - asked)
    held_BPW = ((row_B11 * asked + asking_PW) * lags + lag_W).where((asking_PW >= 0) & (asking_PW < asked), batch * asked * lags)
    return functional.pad(held_BPW.flatten(0, 1), (0, 0, 0, 1), value=batch * asked * lags)


def positions(steps: int, width: int) -> Tensor:
    """(P, D) sines and cosines of the distance to the newest step (Vaswani et al., 2017): any window length has them.

    >>> [[round(value, 2) for value in row] for row in positions(3, 2).tolist()]
    [[0.91, -0.42], [0.84, 0.54], [0.0, 1.0]]
    """
    back_P1 = torch.arange(steps - 1, -1, -1, dtype=torch.float32)[:, None]
    rate_E = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    return torch.stack([(back_P1 * rate_E).sin(), (back_P1 * rate_E).cos()], dim=-1).flatten(1)[:, :width]
