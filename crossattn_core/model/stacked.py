"""The network of ``architecture: stacked``: the encoder stack, and a readout of each asset's newest token.

The forecast without the others is the same stack with every cross-asset attention silenced; the others' part is what they
add to it. In training a row in so many (``model.dropout``) is left alone, so that both are forecasts (stochastic depth:
Huang et al., 2016).

Axes: B decision rows, N assets, M sources, L bars, P patches, W patches back, C channels, D width, H heads of all layers,
O outputs.
"""

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.heads import raw_outputs
from crossattn_core.model.output import NetworkOutput
from crossattn_core.model.parameters import parameter_groups
from crossattn_core.model.shape import NetworkShape
from crossattn_core.model.stack import EncoderStack, Heard
from crossattn_core.panel.windows import RecentBars

__all__ = ["AssetReadout", "StackedNetwork"]


class StackedNetwork(nn.Module):
    """Encoder stack and readout; the interface is that of ``CrossAssetNetwork``."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__()
        self.max_lag = settings.lookback
        """Bars back that are read: the others' windows are as long as the asset's own."""
        self._shown_lags, self._patch, self._alone = settings.max_lag, settings.patch, settings.dropout
        raw = raw_outputs(settings.head, shape.outputs)
        self.stack = EncoderStack(shape, settings)
        # Scores that are all 0 hold nothing, and nothing would be learnt from them; a return starts at its mean.
        self.readout = AssetReadout(shape.assets, settings.width, raw, std=0.02 if settings.head == "weights" else 0.0)

    @property
    def cross(self) -> EncoderStack:
        """What tells whether others are read."""
        return self.stack

    def forward(self, bar_BLNC: Tensor, recent: RecentBars) -> NetworkOutput:
        """Forecast every asset at each decision row from the windows of all; only bars of the window are read."""
        return NetworkOutput(self.own_part(bar_BLNC), *self.cross_part_and_weights(recent))

    def start_from(self, share_ONLM: Tensor, *, learned: bool) -> None:
        """Start the attention at the screened pairs of the first output, the next bar, where a lead has one lag."""
        self.stack.start_from(share_ONLM[0], learned=learned)

    def prepare(self, readable_GM: Tensor | None, drift: float) -> bool:
        """As ``CrossAttention.prepare``, of every layer's."""
        return self.stack.prepare(readable_GM, drift)

    def whole(self, recent: RecentBars) -> tuple[Tensor, Tensor]:
        """(B, N, O) both parts at once, and the attention by patch (B, H, N, M, W); in training some rows stand alone."""
        bar_BNLC, heard = self._read(recent)
        kept_B = None
        if self.training and self._alone > 0:
            kept_B = (torch.rand(len(bar_BNLC), device=bar_BNLC.device) >= self._alone).to(bar_BNLC.dtype)
        summary_BND, weights = self.stack(bar_BNLC, heard, kept_B)
        return self.readout(summary_BND), torch.cat(weights, dim=1)

    def own_part(self, bar_BLNC: Tensor) -> Tensor:
        """(B, N, O) from each asset's own window."""
        return self.readout(self.stack.alone(bar_BLNC.transpose(1, 2)))

    def cross_part(self, recent: RecentBars) -> Tensor:
        """(B, N, O) what the others' windows add."""
        return self.cross_part_and_weights(recent)[0]

    def cross_part_and_weights(self, recent: RecentBars) -> tuple[Tensor, Tensor]:
        """(B, N, O) what the others' windows add, and the attention behind it (B, H, N, M, L): every layer's heads in turn."""
        bar_BNLC, heard = self._read(recent)
        summary_BND, weights = self.stack(bar_BNLC, heard)
        cross_BNO = self.readout(summary_BND) - self.readout(self.stack.alone(bar_BNLC))
        # Where nobody is readable the two are one computation, made in another order: what is left are last bits.
        silent_BN = heard.readable_BN.sum(dim=1, keepdim=True) - heard.readable_BN.long() == 0
        return cross_BNO.masked_fill(silent_BN[..., None], 0.0), self._over_bars(weights)

    def ahead_part(self, recent: RecentBars, spans: tuple[tuple[int, int], ...]) -> Tensor:
        """(B, N, O') 0: what the attention of today means for later bars cannot be read off a stack."""
        return torch.zeros(*recent.readable_BN.shape, len(spans))

    def parameter_groups(self, learning_rate: float, attention_lr_multiplier: float, weight_decay: float) -> list[dict]:
        """AdamW groups: matrices decay, vectors do not, attention logits run faster and never decay."""
        return parameter_groups(self, self.stack.logit_parameters(), learning_rate, attention_lr_multiplier, weight_decay)

    def _read(self, recent: RecentBars) -> tuple[Tensor, Heard]:
        bar_BNLC = recent.spread(recent.bar_UNC).flip(1).transpose(1, 2)
        return bar_BNLC, Heard.of(bar_BNLC, recent.readable_BN, self._patch).known_from(recent)

    def _over_bars(self, weights: list[Tensor]) -> Tensor:
        return torch.cat([self.stack.over_bars(weight_BHNMW, self._shown_lags) for weight_BHNMW in weights], dim=1)


class AssetReadout(nn.Module):
    """One linear map for all assets, and what each asset's own differs from it."""

    def __init__(self, assets: int, width: int, outputs: int, *, std: float) -> None:
        super().__init__()
        self.shared = nn.Linear(width, outputs)
        self.own_NOD = nn.Parameter(torch.zeros(assets, outputs, width))
        nn.init.normal_(self.shared.weight, std=std)
        nn.init.zeros_(self.shared.bias)

    def forward(self, summary_BND: Tensor) -> Tensor:
        """(B, N, D) to (B, N, O)."""
        return self.shared(summary_BND) + torch.einsum("bnd,nod->bno", summary_BND, self.own_NOD)
