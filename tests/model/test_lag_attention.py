"""Lag-bias attention: what may be read, what weights mean, and that the short ways agree with the long ones."""

import math

import pytest
import torch
from torch import Tensor

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import AssetTokens, CrossAttention
from crossattn_core.model.attention.lag_bias import LagBiasAttention
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.windows import RecentBars

BATCH, ASSETS, LAGS, WIDTH, HEADS = 6, 4, 5, 16, 4


def attention_with(content: bool) -> LagBiasAttention:
    torch.manual_seed(1)
    settings = ModelSettings(max_lag=LAGS, width=WIDTH, heads=HEADS, value_width=WIDTH // HEADS, content=content)
    attention = LagBiasAttention(NetworkShape(ASSETS, channels=1, outputs=1), settings)
    torch.nn.init.normal_(attention.logit_HNLM)
    return attention


def tokens_with(readable_BN: Tensor | None = None, fresh_share: float = 1.0) -> AssetTokens:
    generator = torch.Generator().manual_seed(2)
    bars = BATCH + LAGS - 1
    bar_UNC = torch.ones(bars, ASSETS, 1)
    bar_UNC[..., -1] = (torch.rand(bars, ASSETS, generator=generator) < fresh_share).float()
    place_BL = torch.arange(BATCH)[:, None] + LAGS - 1 - torch.arange(LAGS)
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool) if readable_BN is None else readable_BN
    token_UMD = torch.randn(bars, ASSETS, WIDTH, generator=generator) * bar_UNC
    return AssetTokens(token_UMD, RecentBars(bar_UNC, place_BL, readable_BN))


@pytest.mark.parametrize("content", [False, True])
def test_weights_sum_to_one_and_never_point_at_the_target_itself(content: bool) -> None:
    _, weight_BHNML = attention_with(content)(tokens_with())
    assert weight_BHNML.shape == (BATCH, HEADS, ASSETS, ASSETS, LAGS)
    torch.testing.assert_close(weight_BHNML.sum(dim=(-2, -1)), torch.ones(BATCH, HEADS, ASSETS))
    assert (torch.diagonal(weight_BHNML, dim1=2, dim2=3) == 0).all()


@pytest.mark.parametrize("content", [False, True])
def test_a_row_with_nothing_readable_is_zero_and_not_nan(content: bool) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[2] = False
    readable_BN[3, 1:] = False  # asset 0 alone: it has nobody to read, the others read it
    attention = attention_with(content)
    context_BNHK, weight_BHNML = attention(tokens_with(readable_BN))
    assert (context_BNHK[2] == 0).all()
    assert (weight_BHNML[2] == 0).all()
    assert (weight_BHNML[3, :, 0] == 0).all()
    torch.testing.assert_close(weight_BHNML[3, :, 1:].sum(dim=(-2, -1)), torch.ones(HEADS, ASSETS - 1))
    context_BNHK.sum().backward()
    for parameter in attention.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("content", [False, True])
def test_what_a_masked_asset_holds_never_matters(content: bool) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[:, 2] = False
    tokens = tokens_with(readable_BN)
    rewritten_UMD = tokens.token_UMD.clone()
    rewritten_UMD[:, 2] = 100.0
    attention = attention_with(content)
    before, after = attention(tokens)[0], attention(AssetTokens(rewritten_UMD, tokens.bars))[0]
    others = [0, 1, 3]
    torch.testing.assert_close(before[:, others], after[:, others], rtol=0, atol=0)


def test_the_softmax_shared_by_rows_agrees_with_row_by_row() -> None:
    attention = attention_with(content=False)
    tokens = tokens_with(fresh_share=0.7)
    shared_BNHK, weight_BHNML = attention(tokens)
    rows_BHNLM = attention._weights_by_mask(tokens)[0].expand(BATCH, -1, -1, -1, -1)
    torch.testing.assert_close(attention._context(rows_BHNLM, tokens), shared_BNHK)
    torch.testing.assert_close(rows_BHNLM.transpose(-2, -1), weight_BHNML)


def test_row_by_row_agrees_with_scaled_dot_product_attention() -> None:
    attention = attention_with(content=True)
    tokens = tokens_with()
    context_BNHK, _ = attention(tokens)
    assert attention.query is not None
    assert attention.key is not None

    def split(flat_BSD: Tensor) -> Tensor:
        return flat_BSD.reshape(BATCH, -1, HEADS, WIDTH // HEADS).transpose(1, 2)

    spread_BSD = tokens.bars.spread(tokens.token_UMD).reshape(BATCH, LAGS * ASSETS, WIDTH)
    bias_HNS = (attention.logit_HNLM + attention.start_1NLM).flatten(2)
    mixed_BHNK = torch.nn.functional.scaled_dot_product_attention(
        split(attention.query(tokens.newest_BND)), split(attention.key(spread_BSD)), split(attention.value(spread_BSD)), bias_HNS
    )
    gain = math.sqrt((ASSETS - 1) * LAGS)
    torch.testing.assert_close(context_BNHK, gain * mixed_BHNK.transpose(1, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("all_readable", [True, False])
def test_looking_ahead_by_tail_sums_agrees_with_stepping_through_silence(all_readable: bool) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[1, 3] = all_readable
    attention, tokens = attention_with(content=False), tokens_with(readable_BN, fresh_share=0.8)
    for first, last in ((0, 0), (1, 1), (1, 3), (2, 40)):
        stepped_BNHK = CrossAttention.ahead(attention, tokens, first, last)
        torch.testing.assert_close(attention.ahead(tokens, first, last), stepped_BNHK, rtol=1e-4, atol=1e-5)


def test_permuting_assets_with_their_logits_permutes_the_context() -> None:
    attention, tokens = attention_with(content=True), tokens_with()
    order = torch.tensor([2, 0, 3, 1])
    context_BNHK, weight_BHNML = attention(tokens)
    bars = tokens.bars
    moved = AssetTokens(tokens.token_UMD[:, order], RecentBars(bars.bar_UNC[:, order], bars.place_BL, bars.readable_BN[:, order]))
    with torch.no_grad():
        attention.logit_HNLM.copy_(attention.logit_HNLM[:, order][:, :, :, order].clone())
    moved_context_BNHK, moved_weight_BHNML = attention(moved)
    torch.testing.assert_close(moved_context_BNHK, context_BNHK[:, order])
    torch.testing.assert_close(moved_weight_BHNML, weight_BHNML[:, :, order][:, :, :, order])


@pytest.mark.parametrize("lag_prior", [0.0, 1.0, 2.0])
def test_attention_starts_at_the_prior_over_lags(lag_prior: float) -> None:
    settings = ModelSettings(max_lag=LAGS, width=WIDTH, heads=HEADS, value_width=WIDTH // HEADS, lag_prior=lag_prior)
    attention = LagBiasAttention(NetworkShape(ASSETS, channels=1, outputs=1), settings)
    _, weight_BHNML = attention(tokens_with())
    by_lag_L = weight_BHNML[0, 0, 0].sum(dim=0)
    expected_L = torch.arange(1, LAGS + 1).float() ** -lag_prior
    torch.testing.assert_close(by_lag_L, expected_L / expected_L.sum())


def test_without_a_prior_over_lags_logits_and_gain_are_those_of_all_lags_alike() -> None:
    attention = attention_with(content=False)
    assert attention._gain == math.sqrt((ASSETS - 1) * LAGS)
    others_NM = ~torch.eye(ASSETS, dtype=torch.bool)
    assert (attention.start_1NLM.transpose(2, 3)[0][others_NM] == 0).all()


def scattered_mask() -> Tensor:
    """A late asset, a row of one readable asset and one of none."""
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[:3, 1] = False
    readable_BN[3, 1:] = False
    readable_BN[4] = False
    return readable_BN


def row_by_row(attention: LagBiasAttention, tokens: AssetTokens) -> Tensor:
    """The context by a softmax for every row, as the definition says it."""
    readable_BM = tokens.bars.readable_BN
    may_BNM = readable_BM[:, None, :] & ~torch.eye(ASSETS, dtype=torch.bool)
    may_BNS = may_BNM[:, :, None, :].expand(-1, -1, LAGS, -1).flatten(2)[:, None]
    logit_HNS = (attention.logit_HNLM + attention.start_1NLM).flatten(2)
    weight_BHNS = torch.where(may_BNS, logit_HNS, -math.inf).softmax(dim=-1).nan_to_num(0.0)
    value_BLMD = tokens.bars.spread(tokens.values_UMD(attention.value))
    value_BHSK = value_BLMD.unflatten(-1, (HEADS, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)
    return attention._gain * (weight_BHNS @ value_BHSK).transpose(1, 2)


@pytest.mark.parametrize("masked_logit", [0.0, 60.0, 300.0])
def test_masks_that_differ_by_row_give_the_softmax_of_each_row_and_its_gradients(masked_logit: float) -> None:
    attention, tokens = attention_with(content=False), tokens_with(scattered_mask(), fresh_share=0.8)
    with torch.no_grad():
        # What most rows cannot read would hold nearly all weight: its exponential must not drown the others'.
        attention.logit_HNLM[..., 1] += masked_logit
    found, expected = attention.context(tokens), row_by_row(attention, tokens)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(attention(tokens)[0], found, rtol=0, atol=0)
    size_BNHK = torch.randn(found.shape, generator=torch.Generator().manual_seed(7))
    parameters = [attention.logit_HNLM, attention.value.weight]
    of_found, of_expected = (torch.autograd.grad((size_BNHK * given).sum(), parameters) for given in (found, expected))
    for first, second in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=2e-6)


def test_rows_under_one_mask_share_one_softmax_and_an_unreadable_asset_gets_exactly_nothing() -> None:
    attention, readable_BN = attention_with(content=False), scattered_mask()
    weight_ZHNLM, masks = attention._weights_by_mask(tokens_with(readable_BN))
    assert len(weight_ZHNLM) == 4
    assert masks is not None
    assert (weight_ZHNLM[masks.place_B].movedim(-1, 1)[~readable_BN] == 0).all()


def test_what_is_decided_once_gives_what_each_batch_gives_that_is_asked() -> None:
    attention, tokens = attention_with(content=False), tokens_with(scattered_mask())
    for spread in (1.0, 200.0):
        with torch.no_grad():
            attention.logit_HNLM.copy_(
                torch.randn(attention.logit_HNLM.shape, generator=torch.Generator().manual_seed(3)) * spread
            )
        attention.prepare(None, 0.0)
        asked_BNHK = attention.context(tokens)
        # Logits that may drift far, or differ widely already, leave every mask a softmax of its own.
        for drift, is_shared in ((0.0, spread == 1.0), (1e2, False), (1e4, False)):
            attention.prepare(tokens.bars.masks.readable_ZM, drift)
            assert attention._is_shared is is_shared
            torch.testing.assert_close(attention.context(tokens), asked_BNHK)


def test_a_decision_that_changes_the_form_says_so() -> None:
    attention, readable_ZM = attention_with(content=False), tokens_with(scattered_mask()).bars.masks.readable_ZM
    assert [attention.prepare(readable_ZM, drift) for drift in (0.0, 0.0, 1e2, 1e2, 0.0)] == [True, False, True, False, True]
