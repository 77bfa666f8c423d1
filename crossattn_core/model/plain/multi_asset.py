"""The encoder stack with a head, as one module: windows of all assets in, forecasts or weights out.

Axes: B batch, N assets, T bars of a window (oldest first), F features, H heads, M sources (the same assets), W lags in patches
(0 is the newest), D width.
"""

from collections.abc import Hashable, Sequence
from numbers import Integral
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.heads import DIRECTIONS, WeightShape, portfolio_weights
from crossattn_core.model.parameters import parameter_groups
from crossattn_core.model.plain.masks import group_places, is_countable
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
        sectors, markets: of each asset, by any names, each sector in one market, for ``hierarchical``; none: all in one.
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
        sectors: Sequence[Hashable] = (),
        markets: Sequence[Hashable] = (),
        weight_shape: WeightShape = "softmax",
    ) -> None:
        super().__init__()
        outputs = {"regression": 1, "classification": len(DIRECTIONS), "portfolio": 1}
        if output_type not in outputs:
            raise ValueError(f"output_type {output_type!r}; choose from {', '.join(outputs)}")
        if weight_shape not in get_args(WeightShape):
            raise ValueError(f"weight_shape {weight_shape!r}; choose from {', '.join(get_args(WeightShape))}")
        for name, size in (("n_assets", n_assets), ("n_features", n_features), ("patch", patch)):
            if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
                raise ValueError(f"{name} {size!r} is no whole number of at least 1")
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
        shape = NetworkShape(n_assets, n_features + 1, 1, *_groups(sectors, markets, n_assets))
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

        A bar with a NaN or an infinity among its features is silent: it says nothing, and its zeros are told from real ones; so
        is one beyond ``LARGEST`` (plain/masks.py) of an asset that may not be read. Windows of another precision are taken in the
        model's own.

        Args:
            return_attention: also give, for each layer, ``cross_asset``: the weights at the newest step (B, H, N, M), and
                ``cross_asset_by_lag``: the same by patch (B, H, N, M, W); as used, before dropout.
            readable_BN: which assets may be read, and held, alike in all rows if (N,); none: those with a bar in the window.

        Raises:
            ValueError: no tensor, another number of assets or features, no row or no bar; a mask of another shape.
        """
        if not isinstance(x_BNTF, Tensor):
            raise ValueError(f"windows are a {type(x_BNTF).__name__}; frame_windows or torch.as_tensor makes a tensor")
        if x_BNTF.ndim != 4 or (x_BNTF.shape[1], x_BNTF.shape[3]) != self._expected:
            raise ValueError(f"windows {tuple(x_BNTF.shape)} of (B, N, T, F); made for N, F = {self._expected}")
        if not x_BNTF.numel():
            raise ValueError(f"windows {tuple(x_BNTF.shape)} of (B, N, T, F) hold no row or no bar")
        x_BNTF = x_BNTF.to(self.stack.identity_ND.dtype)
        fresh_BNT = torch.isfinite(x_BNTF).all(dim=-1)
        if readable_BN is None:
            readable_BN = fresh_BNT.any(dim=-1)
        else:
            readable_BN = _readable(readable_BN, fresh_BNT.shape[:2])
            fresh_BNT = fresh_BNT & (readable_BN[..., None] | is_countable(x_BNTF).all(dim=-1))
        bar_BNTF = torch.where(fresh_BNT[..., None], x_BNTF, 0.0)
        bar_BNTC = torch.cat([bar_BNTF, fresh_BNT[..., None].to(bar_BNTF.dtype)], dim=-1)
        # Whole patches, counted back from the newest bar: silence before the window's first.
        bar_BNTC = functional.pad(bar_BNTC, (0, 0, -bar_BNTC.shape[2] % self._patch, 0))
        try:
            summary_BND, weights = self.stack(bar_BNTC, Heard.of(bar_BNTC, readable_BN, self._patch))
        except RuntimeError as error:
            if "Half without overflow" not in str(error):
                raise
            raise ValueError("float16 cannot hold this attention's masks; take model.bfloat16() or autocast") from error
        raw_BNO = self.readout(summary_BND)
        output = raw_BNO if self.output_type == "classification" else raw_BNO[..., 0]
        if self.output_type == "portfolio":
            output = portfolio_weights(output, readable_BN, self._weight_shape)
        if not return_attention:
            return output
        return output, [{"cross_asset": by_lag.sum(dim=-1), "cross_asset_by_lag": by_lag} for by_lag in weights]


def _readable(given_BN: Tensor, rows_and_assets: torch.Size) -> Tensor:
    if given_BN.shape not in (rows_and_assets, rows_and_assets[1:]):
        raise ValueError(f"readable_BN of shape {tuple(given_BN.shape)}; it is (B, N) = {tuple(rows_and_assets)}, or (N,)")
    return given_BN.bool().expand(rows_and_assets)


def _groups(sectors: Sequence[Hashable], markets: Sequence[Hashable], assets: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sector and market of each asset as small integers: those that are given, or places in order of appearance."""
    groups = []
    for name, group_N in (("sectors", tuple(sectors)), ("markets", tuple(markets))):
        if len(group_N) not in (0, assets):
            raise ValueError(f"{name} of {len(group_N)} assets; the model has n_assets {assets}")
        numbers = tuple(int(group) for group in group_N if isinstance(group, Integral))
        as_given = len(numbers) == len(group_N) and min(numbers, default=0) >= 0
        groups.append(numbers if as_given else tuple(group_places(group_N)))
    sector_N, market_N = (group_N or (0,) * assets for group_N in groups)
    markets_of = {sector: {m for s, m in zip(sector_N, market_N, strict=True) if s == sector} for sector in sector_N}
    split = [sector for sector, found in markets_of.items() if len(found) > 1]
    if split and sectors:
        raise ValueError(f"sector {sectors[sector_N.index(split[0])]!r} lies in several markets; name its parts apart")
    return sector_N, market_N
