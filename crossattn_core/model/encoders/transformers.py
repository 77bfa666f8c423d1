"""Transformers of the long-horizon forecasting literature as encoders of windows, compact: the field's two standard baselines.

Both leave out the papers' instance normalisation, since bars come scaled, and norm before a layer in place of after it.

Axes: B decision rows, N assets, L bars of a window, C channels of a bar, D width, P patches, G = B * N sequences.
"""

import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.shape import NetworkShape

__all__ = ["InvertedTransformer", "PatchTransformer"]


@ENCODERS.register("itransformer")
class InvertedTransformer(Encoder):
    """Each asset's whole window is one token, and attention runs over the assets (Y. Liu et al., 2024, "iTransformer: Inverted
    Transformers Are Effective for Time Series Forecasting"). Assets meet here; one that is silent in its whole window is read by
    none."""

    reads_others = True

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self.embed = nn.Linear(settings.lookback * shape.channels, settings.width)
        self.identity_ND = nn.Parameter(torch.zeros(shape.assets, settings.width))
        self.layers = transformer(settings)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        token_BND = self.embed(bar_BNLC.flatten(2)) + self.identity_ND
        silent_BN = (bar_BNLC[..., -1] == 0).all(dim=-1)
        # Where all are silent nothing is read anyway; masking every key would leave NaN.
        return self.layers(token_BND, src_key_padding_mask=silent_BN & ~silent_BN.all(dim=1, keepdim=True))


@ENCODERS.register("patchtst")
class PatchTransformer(Encoder):
    """Each asset alone, through weights that all share: overlapping patches of its window, attention over them, one linear map of
    all patches (PatchTST: Y. Nie et al., 2023, "A Time Series is Worth 64 Words"). Patches of ``model.patch`` bars start every
    half patch."""

    def __init__(self, shape: NetworkShape, settings: ModelSettings) -> None:
        super().__init__(shape, settings)
        self._patch, self._stride = settings.patch, max(settings.patch // 2, 1)
        # The first patches may lack some bars: what is counted from the newest bar stays whole.
        patches = (settings.lookback - settings.patch) // self._stride + 1
        self.embed = nn.Linear(settings.patch * shape.channels, settings.width)
        self.position_PD = nn.Parameter(torch.zeros(patches, settings.width))
        self.layers = transformer(settings)
        self.summary = nn.Linear(patches * settings.width, settings.width)

    def forward(self, bar_BNLC: Tensor) -> Tensor:
        batch, assets, bars, _ = bar_BNLC.shape
        left_out = (bars - self._patch) % self._stride
        patch_BNPCX = bar_BNLC[:, :, left_out:].unfold(2, self._patch, self._stride)
        token_GPD = self.embed(patch_BNPCX.flatten(3).flatten(0, 1)) + self.position_PD
        return self.summary(self.layers(token_GPD).flatten(1)).unflatten(0, (batch, assets))


def transformer(settings: ModelSettings) -> nn.TransformerEncoder:
    """torch's own encoder of ``model.layers`` layers, with a norm at the end; every token reads every other."""
    layer = nn.TransformerEncoderLayer(
        settings.width, settings.heads, 2 * settings.width, settings.dropout, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, settings.layers, nn.LayerNorm(settings.width), enable_nested_tensor=False)
