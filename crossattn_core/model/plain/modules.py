"""Four attentions over assets, each an ``nn.Module`` of its own.

    CrossAssetAttention         one asset asks, at every step, the others at that step
    MultiHeadCrossAttention     assets by their means through time
    TemporalCrossAttention      assets at 0..max_lag steps back, mixed by learned shares of the lags
    HierarchicalCrossAttention  assets, sectors and markets

Attention of asset i to asset j is softmax(Q_i K_j^T / sqrt(K)) V_j, with separate maps of query, key, value and output. Three
rules hold in all of them. No step reads a later one: where the usual form gives every step the newest token, or the mean of
the window, each step has the newest or the mean *as of that step*; at the newest step both are the same. An asset that
is not readable has weight 0 and moves nobody else, whatever it holds; NaN of a readable one reaches those who read it and nobody
else. An asset with nobody to read gets a context of 0, never NaN. Tokens are taken in the module's precision; what does not fit
is a ValueError.

Axes: B batch, N assets that ask, M assets that are read, T steps (oldest first), Q = B * T rows of attention, G groups, D width,
H heads, K = D / H, L lags (0 is the step itself).
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.model.attention.base import allowed_sources, masked_softmax
from crossattn_core.model.plain.masks import allowed_pairs, check_alike, group_places, heard, silenced
from crossattn_core.model.shape import by_head

__all__ = [
    "CrossAssetAttention",
    "HierarchicalCrossAttention",
    "MultiHeadCrossAttention",
    "ProjectedAttention",
    "TemporalCrossAttention",
]


class ProjectedAttention(nn.Module):
    """Maps of query, key, value and output around one masked softmax; with the same weights ``nn.MultiheadAttention``."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if d_model < 1 or n_heads < 1:
            raise ValueError(f"d_model {d_model}, n_heads {n_heads}; both are at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout {dropout} is a share of what is set to 0, in [0, 1)")
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        self.heads = n_heads
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, query_QND: Tensor, source_QMD: Tensor, allowed_QNM: Tensor) -> tuple[Tensor, Tensor]:
        """Context (Q, N, D) and the weights (Q, H, N, M) before dropout, 0 where not ``allowed``."""
        weight_QHNM = self.weights(self.query(query_QND), self.key(source_QMD), allowed_QNM)
        value_QMD, broken_QM = self.values(source_QMD)
        mixed_QHNK = self.dropout(weight_QHNM) @ by_head(value_QMD, self.heads)
        return self.put_out(mixed_QHNK, allowed_QNM, (allowed_QNM & broken_QM[:, None]).any(dim=-1)), weight_QHNM

    def values(self, source_QMD: Tensor) -> tuple[Tensor, Tensor]:
        """Mapped values (Q, M, D) with 0 where one is no number, and (Q, M) where that is: whoever reads it gets no number."""
        value_QMD = self.value(source_QMD)
        broken_QM = ~value_QMD.isfinite().all(dim=-1)
        return value_QMD.masked_fill(broken_QM[..., None], 0.0), broken_QM

    def weights(self, query_QND: Tensor, key_QMD: Tensor, allowed_QNM: Tensor) -> Tensor:
        """(Q, H, N, M) softmax over the allowed sources, of queries and keys that are mapped already."""
        query_QHNK, key_QHMK = by_head(query_QND, self.heads), by_head(key_QMD, self.heads)
        logit_QHNM = query_QHNK @ key_QHMK.transpose(-2, -1) / math.sqrt(query_QHNK.shape[-1])
        # Half precision cannot hold the floor of what is masked.
        exact_QHNM = logit_QHNM.float() if logit_QHNM.dtype == torch.float16 else logit_QHNM
        return masked_softmax(exact_QHNM, allowed_QNM[:, None]).to(logit_QHNM.dtype)

    def taken(self, token: Tensor, axes: str) -> Tensor:
        """``token`` in the maps' precision.

        Raises:
            ValueError: no tensor of such axes, the last of them as wide as the maps.
        """
        width = self.query.in_features
        if not isinstance(token, Tensor):
            raise ValueError(f"tokens are a {type(token).__name__}; give a tensor {axes}, for instance by torch.as_tensor")
        if token.ndim != len(axes.split(", ")) or token.shape[-1] != width or 0 in (len(token), token.shape[-2]):
            raise ValueError(f"tokens {tuple(token.shape)} of {axes}; made for D = {width}, at least one row and step")
        return token.to(self.query.weight.dtype)

    def put_out(self, mixed_QHNK: Tensor, allowed_QNM: Tensor, broken_QN: Tensor) -> Tensor:
        """(Q, N, D) through the output map; 0 where nothing is allowed, NaN where something is read that is no number."""
        out_QND = self.out(mixed_QHNK.transpose(1, 2).flatten(2)) * allowed_QNM.any(dim=-1, keepdim=True)
        return out_QND.masked_fill(broken_QN[..., None], torch.nan)


class CrossAssetAttention(nn.Module):
    """One asset asks the others at each of its steps; keys and values are the others' tokens at that step."""

    def __init__(self, d_model: int, n_heads: int, n_assets: int) -> None:
        super().__init__()
        self.n_assets = n_assets
        self.attention = ProjectedAttention(d_model, n_heads)

    def forward(self, asset_BTD: Tensor, other_BMTD: Tensor, readable_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Context (B, T, D) and weights (B, H, T, M).

        Args:
            other_BMTD: the other assets, at most ``n_assets``, on the same steps.
            readable_BM: which of them may be read; none: all.

        Raises:
            ValueError: more than ``n_assets`` others.
        """
        asset_BTD = self.attention.taken(asset_BTD, "(B, T, D)")
        other_BMTD = self.attention.taken(other_BMTD, "(B, M, T, D)")
        batch, others, steps, _ = other_BMTD.shape
        if others > self.n_assets:
            raise ValueError(f"{others} assets to read, made for n_assets {self.n_assets}")
        check_alike(asset_BTD, other_BMTD)
        other_BMTD = heard(other_BMTD, readable_BM)
        allowed_BNM = allowed_pairs(readable_BM, batch, 1, others, asset_BTD.device)
        context_Q1D, weight_QH1M = self.attention(
            asset_BTD.flatten(0, 1)[:, None], _by_step(other_BMTD), allowed_BNM.repeat_interleave(steps, dim=0)
        )
        return context_Q1D.view_as(asset_BTD), weight_QH1M[:, :, 0].unflatten(0, (batch, steps)).transpose(1, 2)


class MultiHeadCrossAttention(nn.Module):
    """Assets read each other by the mean of their tokens up to each step; residual and LayerNorm behind it.

    A mean through time cannot tell who moved first: for leads take ``TemporalCrossAttention``.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.attention = ProjectedAttention(d_model, n_heads, dropout)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, asset_BNTD: Tensor, other_BMTD: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, N, T, D) tokens, and the weights at the newest step (B, H, N, M).

        Args:
            other_BMTD: what is read, on the same steps; none: the assets read each other, and no asset itself.
            mask: True where an asset may be read, (B, M), or read by whom, (B, N, M); none: all.
        """
        asset_BNTD, source_BMTD, allowed_QNM = _reading(self.attention, asset_BNTD, other_BMTD, mask)
        context_QND, weight_QHNM = self.attention(_by_step(_means(asset_BNTD)), _by_step(_means(source_BMTD)), allowed_QNM)
        out_BNTD = self.norm(asset_BNTD + self.attention.dropout(_by_asset(context_QND, len(asset_BNTD))))
        return out_BNTD, weight_QHNM.unflatten(0, (len(asset_BNTD), -1))[:, -1]


class TemporalCrossAttention(nn.Module):
    """At each lag an asset's step asks the others' tokens of so many steps before; learned shares mix the lags.

    Before the window's first step there is nothing: a lag that reaches there keeps its share and says 0.
    """

    def __init__(self, d_model: int, n_heads: int, max_lag: int, dropout: float = 0.1) -> None:
        super().__init__()
        if max_lag < 0:
            raise ValueError(f"max_lag {max_lag}; a lag of 0 reads the step itself, and none looks ahead")
        self.attention = ProjectedAttention(d_model, n_heads, dropout)
        self.lag_logit_L = nn.Parameter(torch.zeros(max_lag + 1))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, asset_BNTD: Tensor, other_BMTD: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, N, T, D) tokens, and the weights at the newest step by lag (B, L, H, N, M), 0 .. max_lag, the shares of the
        lags in them: over lags and sources they sum to one. Arguments as ``MultiHeadCrossAttention``.
        """
        attention = self.attention
        asset_BNTD, source_BMTD, allowed_QNM = _reading(attention, asset_BNTD, other_BMTD, mask)
        batch = len(asset_BNTD)
        query_QND = attention.query(_by_step(asset_BNTD))
        key_BMTD, (value_BMTD, broken_BMT) = attention.key(source_BMTD), attention.values(source_BMTD)
        share_L = self.lag_logit_L.softmax(dim=0)
        newest, mixed_QHNK = [], torch.zeros((), device=asset_BNTD.device)
        broken_QN = torch.zeros((), dtype=torch.bool, device=asset_BNTD.device)
        for lag, share in enumerate(share_L):
            weight_QHNM = share * attention.weights(query_QND, _by_step(_later(key_BMTD, lag)), allowed_QNM)
            mixed_QHNK = mixed_QHNK + attention.dropout(weight_QHNM) @ by_head(_by_step(_later(value_BMTD, lag)), attention.heads)
            broken_QM1 = _by_step(_later(broken_BMT[..., None], lag))
            broken_QN = broken_QN | (allowed_QNM & broken_QM1.transpose(1, 2)).any(dim=-1)
            newest.append(weight_QHNM.unflatten(0, (batch, -1))[:, -1])
        context_QND = attention.put_out(mixed_QHNK, allowed_QNM, broken_QN)
        out_BNTD = self.norm(asset_BNTD + attention.dropout(_by_asset(context_QND, batch)))
        return out_BNTD, torch.stack(newest, dim=1)


class HierarchicalCrossAttention(nn.Module):
    """Assets read assets, sectors read sectors, markets read markets; the three are put side by side and mapped to one.

    A group is the mean of its readable members; what it reads goes back to each of them. A group reads itself too, an asset
    does not. Assets have all the heads, sectors half and markets a quarter of them.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        sector_mapping: Mapping[int, Hashable] | Sequence[Hashable],
        market_mapping: Mapping[int, Hashable] | Sequence[Hashable],
    ) -> None:
        """The mappings give the sector and the market of each asset, by its place 0 .. N - 1.

        Raises:
            ValueError: heads that do not divide by 4, or mappings of different assets, of none, or by other keys than places.
        """
        super().__init__()
        if n_heads < 1 or n_heads % 4:
            raise ValueError(f"n_heads {n_heads} is not a multiple of 4: sectors have half of the heads, markets a quarter")
        groups_N = [torch.tensor(group_places(mapping)) for mapping in (sector_mapping, market_mapping)]
        if not len(groups_N[0]):
            raise ValueError("sector_mapping and market_mapping are empty; they give the groups of at least one asset")
        if len(groups_N[0]) != len(groups_N[1]):
            raise ValueError(f"sectors of {len(groups_N[0])} assets, markets of {len(groups_N[1])}")
        for level, group_N in zip(("sectors", "markets"), groups_N, strict=True):
            self.register_buffer(
                f"member_{level}_NG", functional.one_hot(group_N).to(torch.get_default_dtype()), persistent=False
            )
        self.levels = nn.ModuleDict(
            {
                level: ProjectedAttention(d_model, n_heads // divisor)
                for level, divisor in (("assets", 1), ("sectors", 2), ("markets", 4))
            }
        )
        self.combine = nn.Linear(3 * d_model, d_model)

    def forward(self, asset_BNTD: Tensor, readable_BN: Tensor | None = None) -> Tensor:
        """(B, N, T, D) to (B, N, T, D).

        Args:
            readable_BN: which assets may be read; none: all.
        """
        asset_BNTD = cast("ProjectedAttention", self.levels["assets"]).taken(asset_BNTD, "(B, N, T, D)")
        batch, assets, steps, _ = asset_BNTD.shape
        grouped = len(self.get_buffer("member_sectors_NG"))
        if assets != grouped:
            raise ValueError(f"tokens of {assets} assets; sectors and markets are those of {grouped}")
        heard_BNTD, asset_BNTD = heard(asset_BNTD, readable_BN), silenced(asset_BNTD, readable_BN)
        readable_BN = allowed_pairs(readable_BN, batch, 1, assets, asset_BNTD.device)[:, 0]
        heard_QND, readable_QN = _by_step(heard_BNTD), readable_BN.repeat_interleave(steps, dim=0)
        parts_QND = [self.levels["assets"](_by_step(asset_BNTD), heard_QND, allowed_sources(readable_QN))[0]]
        for level in ("sectors", "markets"):
            member_NG = self.get_buffer(f"member_{level}_NG")
            count_QG = readable_QN.to(heard_QND.dtype) @ member_NG
            group_QGD = member_NG.T @ heard_QND / count_QG.clamp_min(1)[..., None]
            allowed_QGG = (count_QG > 0)[:, None, :].expand(-1, count_QG.shape[1], -1)
            parts_QND.append(member_NG @ self.levels[level](group_QGD, group_QGD, allowed_QGG)[0])
        return _by_asset(self.combine(torch.cat(parts_QND, dim=-1)), batch)


def _reading(
    attention: ProjectedAttention, asset_BNTD: Tensor, other_BMTD: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens that ask, those that are read, and (Q, N, M) who may read whom at every step."""
    asset_BNTD = attention.taken(asset_BNTD, "(B, N, T, D)")
    batch, assets, steps, _ = asset_BNTD.shape
    if other_BMTD is None:
        asset_BNTD, source_BMTD = silenced(asset_BNTD, mask), heard(asset_BNTD, mask)
    else:
        source_BMTD = heard(attention.taken(other_BMTD, "(B, M, T, D)"), mask)
        check_alike(asset_BNTD, source_BMTD)
    allowed_BNM = allowed_pairs(mask, batch, assets, source_BMTD.shape[1], asset_BNTD.device)
    if other_BMTD is None:
        allowed_BNM = allowed_BNM & ~torch.eye(assets, dtype=torch.bool, device=asset_BNTD.device)
    return asset_BNTD, source_BMTD, allowed_BNM.repeat_interleave(steps, dim=0)


def _by_step(token_BNTD: Tensor) -> Tensor:
    """(B, N, T, D) to (Q, N, D): every step a row of its own."""
    return token_BNTD.transpose(1, 2).flatten(0, 1)


def _by_asset(token_QND: Tensor, batch: int) -> Tensor:
    """(Q, N, D) to (B, N, T, D)."""
    return token_QND.unflatten(0, (batch, -1)).transpose(1, 2)


def _later(token_BMTD: Tensor, lag: int) -> Tensor:
    """The tokens ``lag`` steps later, zeros before."""
    return functional.pad(token_BMTD, (0, 0, lag, 0))[:, :, : token_BMTD.shape[2]]


def _means(token_BNTD: Tensor) -> Tensor:
    """The mean of the tokens up to each step."""
    count_T = torch.arange(1, token_BNTD.shape[2] + 1, device=token_BNTD.device)
    return token_BNTD.cumsum(dim=2) / count_T[:, None]
