"""Each attention against torch's own: scaled_dot_product_attention and MultiheadAttention, given the same weights."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import AssetTokens, CrossAttention
from crossattn_core.model.attention.factorised import FactorisedAttention
from crossattn_core.model.attention.hierarchical import HierarchicalAttention
from crossattn_core.model.attention.lag_bias import LagBiasAttention
from crossattn_core.model.attention.lagged import LaggedAttention
from crossattn_core.model.attention.last import LastStepAttention
from crossattn_core.model.attention.pooled import PooledAttention
from crossattn_core.model.attention.sparse import SparseLagAttention
from crossattn_core.model.attention.uniform import UniformAttention
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.windows import RecentBars

BATCH, ASSETS, LAGS, WIDTH, HEADS, STEPS = 4, 5, 6, 24, 6, 3
K = WIDTH // HEADS
SECTORS, MARKETS = (0, 0, 1, 1, 2), (0, 0, 0, 0, 1)
SHAPE = NetworkShape(ASSETS, channels=1, outputs=1, sectors=SECTORS, markets=MARKETS)
KINDS: dict[str, tuple[type[CrossAttention], dict[str, object]]] = {
    "lag_bias": (LagBiasAttention, {}),
    "lag_bias + content": (LagBiasAttention, {"content": True}),
    "sparse": (SparseLagAttention, {"content": True, "top_sources": 2}),
    "hierarchical": (HierarchicalAttention, {}),
    "lagged": (LaggedAttention, {}),
    "factorised": (FactorisedAttention, {"steps": STEPS}),
    "last": (LastStepAttention, {}),
    "pooled": (PooledAttention, {}),
    "uniform": (UniformAttention, {}),
}
SELF_NM = torch.eye(ASSETS, dtype=torch.bool)


def attention_of(kind: str) -> CrossAttention:
    torch.manual_seed(3)
    variant, knobs = KINDS[kind]
    settings = ModelSettings.model_validate({"max_lag": LAGS, "width": WIDTH, "heads": HEADS, "value_width": K, **knobs})
    attention = variant(SHAPE, settings).eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_()
    return attention


def tokens() -> AssetTokens:
    generator = torch.Generator().manual_seed(5)
    bars = BATCH + LAGS - 1
    place_BL = torch.arange(BATCH)[:, None] + LAGS - 1 - torch.arange(LAGS)
    recent = RecentBars(torch.ones(bars, ASSETS, 1), place_BL, torch.ones(BATCH, ASSETS, dtype=torch.bool))
    return AssetTokens(0.5 * torch.randn(bars, ASSETS, WIDTH, generator=generator), recent)


def by_head(flat_BSD: Tensor) -> Tensor:
    return flat_BSD.reshape(BATCH, -1, HEADS, K).transpose(1, 2)


def without_self(bias: Tensor) -> Tensor:
    """A logit per (..., target, source) with the target itself shut out."""
    return bias.masked_fill(SELF_NM, -math.inf)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_context_is_the_values_under_the_weights_that_are_returned(kind: str) -> None:
    attention, asked = attention_of(kind), tokens()
    context_BNHK, weight_BHNML = attention(asked)
    value_BLMHK = asked.bars.spread(attention.value(asked.token_UMD)).view(BATCH, LAGS, ASSETS, HEADS, K)
    gain = getattr(attention, "_gain", math.sqrt((ASSETS - 1) * LAGS))
    close(context_BNHK, gain * torch.einsum("bhnml,blmhk->bnhk", weight_BHNML, value_BLMHK))
    close(attention.context(asked), context_BNHK)


@pytest.mark.parametrize("kind", ["last", "pooled"])
def test_attention_over_one_token_an_asset_is_torchs_multihead_attention(kind: str) -> None:
    attention, asked = attention_of(kind), tokens()
    token_BND = asked.newest_BND if kind == "last" else asked.bars.spread(asked.token_UMD).mean(dim=1)
    reference = nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]))
        reference.out_proj.weight.copy_(torch.eye(WIDTH))
        mask_GNM = without_self(attention.logit_HNM).repeat(BATCH, 1, 1)
        mixed_BND, share_BHNM = reference(token_BND, token_BND, token_BND, attn_mask=mask_GNM, average_attn_weights=False)
    context_BNHK, weight_BHNML = attention(asked)
    close(context_BNHK.flatten(2), math.sqrt(ASSETS - 1) * mixed_BND)
    close(weight_BHNML.sum(dim=-1), share_BHNM)


@pytest.mark.parametrize("kind", ["lag_bias", "lag_bias + content"])
def test_lag_bias_is_multihead_attention_over_every_source_and_lag(kind: str) -> None:
    attention, asked = attention_of(kind), tokens()
    reference = nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True)
    nothing_DD = torch.zeros(WIDTH, WIDTH)
    query_DD, key_DD = (nothing_DD if part is None else part.weight for part in (attention.query, attention.key))
    pair_BSD = asked.bars.spread(asked.token_UMD).flatten(1, 2)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([query_DD, key_DD, attention.value.weight]))
        reference.out_proj.weight.copy_(torch.eye(WIDTH))
        bias_HNS = attention.logit_HNLM.masked_fill(SELF_NM[None, :, None, :], -math.inf).flatten(2)
        mixed_BND, share_BHNS = reference(
            asked.newest_BND, pair_BSD, pair_BSD, attn_mask=bias_HNS.repeat(BATCH, 1, 1), average_attn_weights=False
        )
    context_BNHK, weight_BHNML = attention(asked)
    close(context_BNHK.flatten(2), attention._gain * mixed_BND)
    close(weight_BHNML.transpose(-2, -1).flatten(3), share_BHNS)


def test_sparse_is_scaled_dot_product_attention_with_all_but_the_strongest_sources_shut_out() -> None:
    attention, asked = attention_of("sparse"), tokens()
    pair_BSD = asked.bars.spread(asked.token_UMD).flatten(1, 2)
    bias_HNLM = attention.logit_HNLM.masked_fill(SELF_NM[None, :, None, :], -math.inf)
    query_BHNK, key_BHSK = by_head(attention.query(asked.newest_BND)), by_head(attention.key(pair_BSD))
    logit_BHNLM = bias_HNLM + (query_BHNK @ key_BHSK.transpose(-2, -1) / math.sqrt(K)).unflatten(-1, (LAGS, ASSETS))
    mass_BHNM = logit_BHNLM.flatten(3).softmax(dim=-1).unflatten(-1, (LAGS, ASSETS)).sum(dim=-2)
    weakest_kept_BHN1 = mass_BHNM.sort(dim=-1).values[..., -2:-1]
    mask_BHNS = bias_HNLM.expand(BATCH, -1, -1, -1, -1).masked_fill((mass_BHNM < weakest_kept_BHN1)[..., None, :], -math.inf)
    mixed_BHNK = functional.scaled_dot_product_attention(
        query_BHNK, key_BHSK, by_head(attention.value(pair_BSD)), mask_BHNS.flatten(3)
    )
    close(attention(asked)[0], attention._gain * mixed_BHNK.transpose(1, 2))


def test_lagged_is_scaled_dot_product_attention_lag_by_lag_mixed_over_lags() -> None:
    attention, asked = attention_of("lagged"), tokens()
    mixture_HNL = attention.mixture_HNL.softmax(dim=-1)
    expected_BHNK = torch.zeros(BATCH, HEADS, ASSETS, K)
    for lag in range(LAGS):
        token_BMD = asked.token_UMD[asked.bars.place_BL[:, lag]]
        answer_BHNK = functional.scaled_dot_product_attention(
            by_head(attention.query(asked.newest_BND)),
            by_head(attention.key(token_BMD)),
            by_head(attention.value(token_BMD)),
            without_self(attention.source_HNM),
        )
        expected_BHNK = expected_BHNK + mixture_HNL[..., lag, None] * answer_BHNK
    close(attention(asked)[0], attention._gain * expected_BHNK.transpose(1, 2))


def test_factorised_is_scaled_dot_product_attention_over_time_and_then_over_steps() -> None:
    attention, asked = attention_of("factorised"), tokens()
    steps = []
    for source in range(ASSETS):
        token_BLD = asked.bars.spread(asked.token_UMD)[:, :, source]
        steps.append(
            functional.scaled_dot_product_attention(
                attention.step_query_HPK.expand(BATCH, -1, -1, -1),
                by_head(attention.time_key(token_BLD)),
                by_head(attention.value(token_BLD)),
                attention.time_HMPL[:, source],
            )
        )
    summary_BHSK = torch.cat(steps, dim=2)
    bias_HNS = attention.step_HNS.masked_fill(SELF_NM.repeat_interleave(STEPS, dim=1), -math.inf)
    mixed_BHNK = functional.scaled_dot_product_attention(
        by_head(attention.query(asked.newest_BND)), attention.key(summary_BHSK), summary_BHSK, bias_HNS
    )
    close(attention(asked)[0], attention._gain * mixed_BHNK.transpose(1, 2))


def test_each_head_of_the_hierarchy_is_scaled_dot_product_attention_over_the_groups_of_its_level() -> None:
    attention, asked = attention_of("hierarchical"), tokens()
    value_BHMLK = asked.bars.spread(attention.value(asked.token_UMD)).view(BATCH, LAGS, ASSETS, HEADS, K).permute(0, 3, 2, 1, 4)
    context_BNHK, _ = attention(asked)
    same_sector = [[m for m in range(ASSETS) if SECTORS[m] == SECTORS[n] and m != n] for n in range(ASSETS)]
    for n in range(ASSETS):
        others = [m for m in range(ASSETS) if m != n]
        groups = {
            "assets": {m: [m] for m in same_sector[n]},
            "sectors": {s: [m for m in others if SECTORS[m] == s and MARKETS[m] == MARKETS[n]] for s in range(3)},
            "markets": {g: [m for m in others if MARKETS[m] == g] for g in range(2)},
        }
        for head, level in enumerate(attention._level_H):
            members = {group: held for group, held in groups[level].items() if held}
            if not members:
                assert (context_BNHK[:, n, head] == 0).all()
                continue
            own = attention._level_H[:head].count(level)
            logit_1S = attention.logits[level][own, n, list(members)].reshape(1, -1)
            said_BSK = torch.stack([value_BHMLK[:, head, held].mean(dim=1) for held in members.values()], dim=1).flatten(1, 2)
            nothing_B1K = torch.zeros(BATCH, 1, K)
            mixed_B1K = functional.scaled_dot_product_attention(nothing_B1K, torch.zeros_like(said_BSK), said_BSK, logit_1S)
            close(context_BNHK[:, n, head], attention._gain * mixed_B1K[:, 0])
