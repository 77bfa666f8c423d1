"""The encoder stack with a head, as one module: windows of all assets in, forecasts or weights out.

Axes: B batch, N assets, T bars of a window (oldest first), F features, H heads, M sources (the same assets), W lags in patches
(0 is the newest), D width.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.heads import DIRECTIONS, WeightShape, portfolio_weights
from crossattn_core.model.parameters import parameter_groups
from crossattn_core.model.shape import NetworkShape
from crossattn_core.model.stack import EncoderStack, Heard
from crossattn_core.model.stacked import AssetReadout

__all__ = ["CrossAttentionMultiAsset", "OutputType"]

OutputType = Literal["regression", "classification", "portfolio"]


class CrossAttentionMultiAsset(nn.Module):
    """Embedding, positions, ``n_layers`` of temporal self-attention and cross-asset attention, and a head on the newest step.

    Train it as any module; it knows neither scaling nor calibration (``fit_model`` of the families does all that).

    Args:
        n_assets: assets of a window, in an order that stays.
        n_features: features of a bar.
        d_model: width, a multiple of ``n_heads``.
        output_type: regression (a number an asset), classification (logits of down, neutral, up) or portfolio (shares of
            equity with gross exposure 1).
        cross_attention: how assets read each other, a file of model/attention: lag_bias, lagged, hierarchical, last, pooled, ...
        max_lag: bars back that the others are read, in whole patches.
        patch: bars in one token; cost grows with the square of the tokens.
        embedding: how bars become tokens: patch by patch, or by a causal 1-D convolution over ``kernel`` bars.
        sectors, markets: of each asset, as small integers, for ``hierarchical``; none: all in one.
        weight_shape: portfolio: softmax (long-only) or tanh (long and short).

    Raises:
        ValueError: a size that does not divide or is out of range.
    """

    def __init__(
        self,
        n_assets: int,
        n_features: int,
        d_model: int = 64,
        n_heads: int = 4,
        n_layers: int = 2,
        dropout: float = 0.1,
        output_type: OutputType = "regression",
        *,
        cross_attention: str = "lag_bias",
        max_lag: int = 24,
        patch: int = 4,
        embedding: Literal["linear", "convolution"] = "linear",
        kernel: int = 8,
        sectors: Sequence[int] = (),
        markets: Sequence[int] = (),
        weight_shape: WeightShape = "softmax",
    ) -> None:
        super().__init__()
        outputs = {"regression": 1, "classification": len(DIRECTIONS), "portfolio": 1}
        if output_type not in outputs:
            raise ValueError(f"output_type {output_type!r}; choose from {', '.join(outputs)}")
        settings = ModelSettings(
            architecture="stacked",
            cross_attention=cross_attention,
            embedding=embedding,
            kernel=kernel,
            # The stack reads windows of any length; this one only has to hold the lags.
            lookback=patch * -(-max(max_lag, 8) // patch),
            patch=patch,
            max_lag=max_lag,
            width=d_model,
            heads=n_heads,
            layers=n_layers,
            dropout=dropout,
        )
        one_group = (0,) * n_assets
        shape = NetworkShape(n_assets, n_features + 1, 1, tuple(sectors) or one_group, tuple(markets) or one_group)
        self.output_type, self._patch = output_type, patch
        self._weight_shape: WeightShape = weight_shape
        self._expected = (n_assets, n_features)
        self.stack = EncoderStack(shape, settings)
        self.readout = AssetReadout(n_assets, d_model, outputs[output_type], std=0.02)

    def parameter_groups(
        self, learning_rate: float = 1e-3, attention_lr_multiplier: float = 50.0, weight_decay: float = 1e-2
    ) -> list[dict]:
        """Groups for ``torch.optim.AdamW``: learned attention logits run faster than maps and never decay.

        With one rate for all, as in ``Adam(model.parameters())``, forecasts are learnt and the weights hardly move.
        """
        return parameter_groups(self, self.stack.logit_parameters(), learning_rate, attention_lr_multiplier, weight_decay)

    def forward(
        self, x_BNTF: Tensor, return_attention: bool = False, readable_BN: Tensor | None = None
    ) -> Tensor | tuple[Tensor, list[dict[str, Tensor]]]:
        """Predictions (B, N); with classification logits (B, N, 3); with portfolio weights (B, N).

        A bar with a NaN among its features is silent: it says nothing, and its zeros are told from real ones.

        Args:
            return_attention: also give, for each layer, ``cross_asset``: the weights at the newest step (B, H, N, M), and
                ``cross_asset_by_lag``: the same by patch (B, H, N, M, W); as used, before dropout.
            readable_BN: which assets may be read, and held; none: those with a bar in the window.

        Raises:
            ValueError: another number of assets or features.
        """
        if (x_BNTF.shape[1], x_BNTF.shape[3]) != self._expected:
            raise ValueError(f"windows {tuple(x_BNTF.shape)} of (B, N, T, F); made for N, F = {self._expected}")
        fresh_BNT = torch.isfinite(x_BNTF).all(dim=-1)
        bar_BNTF = torch.where(fresh_BNT[..., None], x_BNTF, 0.0)
        bar_BNTC = torch.cat([bar_BNTF, fresh_BNT[..., None].to(bar_BNTF.dtype)], dim=-1)
        # Whole patches, counted back from the newest bar: silence before the window's first.
        bar_BNTC = functional.pad(bar_BNTC, (0, 0, -bar_BNTC.shape[2] % self._patch, 0))
        readable_BN = fresh_BNT.any(dim=-1) if readable_BN is None else readable_BN
        summary_BND, weights = self.stack(bar_BNTC, Heard.of(bar_BNTC, readable_BN, self._patch))
        raw_BNO = self.readout(summary_BND)
        output = raw_BNO if self.output_type == "classification" else raw_BNO[..., 0]
        if self.output_type == "portfolio":
            output = portfolio_weights(output, readable_BN, self._weight_shape)
        if not return_attention:
            return output
        return output, [{"cross_asset": by_lag.sum(dim=-1), "cross_asset_by_lag": by_lag} for by_lag in weights]
