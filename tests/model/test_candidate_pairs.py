"""Attention over candidate pairs: with every pair a candidate it is the dense module, with fewer the softmax over those.

Axes: B decision rows, N targets, M sources, L lags, K pairs of a target, S = M * L, H heads.
"""

import math

import pytest
import torch
from torch import Tensor

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import AssetTokens, CrossAttention
from crossattn_core.model.attention.candidate_pairs import CandidatePairAttention, candidate_pairs
from crossattn_core.model.attention.lag_bias import LagBiasAttention
from crossattn_core.model.attention.pair_products import PairPattern, gathered_products, sparse_products
from crossattn_core.model.attention.sparse import SparseLagAttention
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.windows import RecentBars

BATCH, ASSETS, LAGS, WIDTH, HEADS, PAIRS = 6, 5, 4, 16, 4, 7
EVERY = (ASSETS - 1) * LAGS
SHAPE = NetworkShape(ASSETS, channels=1, outputs=1)


def settings_with(**knobs: object) -> ModelSettings:
    knobs = {"max_lag": LAGS, "width": WIDTH, "heads": HEADS, "value_width": WIDTH // HEADS, "top_sources": 2} | knobs
    return ModelSettings.model_validate(knobs)


def tokens_with(readable_BN: Tensor | None = None) -> AssetTokens:
    generator = torch.Generator().manual_seed(2)
    bars = BATCH + LAGS - 1
    bar_UNC = (torch.rand(bars, ASSETS, 1, generator=generator) < 0.8).float()
    place_BL = torch.arange(BATCH)[:, None] + LAGS - 1 - torch.arange(LAGS)
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool) if readable_BN is None else readable_BN
    token_UMD = torch.randn(bars, ASSETS, WIDTH, generator=generator) * bar_UNC
    return AssetTokens(token_UMD, RecentBars(bar_UNC, place_BL, readable_BN))


def scattered_mask() -> Tensor:
    """A late asset, a row of one readable asset and one of none."""
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[:3, 1] = False
    readable_BN[3, 1:] = False
    readable_BN[4] = False
    return readable_BN


def some_pairs(count: int = PAIRS) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    own_NS = torch.arange(ASSETS * LAGS)[None] // LAGS == torch.arange(ASSETS)[:, None]
    return torch.rand(ASSETS, ASSETS * LAGS, generator=generator).masked_fill(own_NS, -1).topk(count, dim=1).indices


def candidates(count: int = PAIRS, *, top_sources: int | None = None, **knobs: object) -> CandidatePairAttention:
    torch.manual_seed(1)
    attention = CandidatePairAttention(SHAPE, settings_with(**knobs), count, top_sources=top_sources)
    attention.read_pairs(some_pairs(count))
    torch.nn.init.normal_(attention.logit_HNK, std=2.0)
    return attention


def dense_of(attention: CandidatePairAttention, cls: type[LagBiasAttention], **knobs: object) -> LagBiasAttention:
    """The module over every pair with the same weights: a pair that is no candidate has a logit that never counts."""
    dense = cls(SHAPE, settings_with(**knobs))
    logit_HNS = torch.full((HEADS, ASSETS, ASSETS * LAGS), -1e9)
    logit_HNS.scatter_(2, attention.pair_NK.expand_as(attention.logit_HNK), attention.logit_HNK.detach())
    with torch.no_grad():
        dense.logit_HNLM.copy_(logit_HNS.unflatten(2, (ASSETS, LAGS)).transpose(2, 3))
        dense.gain_HN.copy_(attention.gain_HN)
    state = {name: value for name, value in attention.state_dict().items() if name.endswith("weight")}
    dense.load_state_dict(state, strict=False)
    return dense


@pytest.mark.parametrize("count", [PAIRS, EVERY])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("cls", [LagBiasAttention, SparseLagAttention])
def test_it_agrees_with_the_dense_module(cls: type[LagBiasAttention], content: bool, masked: bool, count: int) -> None:
    attention = candidates(count, top_sources=2 if cls is SparseLagAttention else None, content=content).eval()
    dense = dense_of(attention, cls, content=content).eval()
    tokens = tokens_with(scattered_mask() if masked else None)
    context_BNHK, weight_BHNML = attention(tokens)
    dense_BNHK, dense_BHNML = dense(tokens)
    if masked and count < EVERY:
        # Where none of a target's pairs may be read, the dense softmax over logits of -1e9 is even; here it is nothing.
        reads_BN = (weight_BHNML.sum(dim=(1, 3, 4)) > 0).float()
        dense_BNHK, dense_BHNML = dense_BNHK * reads_BN[..., None, None], dense_BHNML * reads_BN[:, None, :, None, None]
    torch.testing.assert_close(weight_BHNML, dense_BHNML, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(context_BNHK, dense_BNHK, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("masked_logit", [0.0, 60.0, 300.0])
@pytest.mark.parametrize("masked", [False, True])
def test_sparse_products_have_the_value_and_gradients_of_gathered_ones(masked: bool, masked_logit: float) -> None:
    attention, tokens = candidates(), tokens_with(scattered_mask() if masked else None)
    with torch.no_grad():
        # What some rows cannot read would hold nearly all weight: its exponential must not drown the others'.
        attention.logit_HNK += masked_logit * (attention.pair_NK // LAGS == 1)
    found, expected = attention._sparse_context(tokens), attention._gathered_context(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    size_BNHK = torch.randn(found.shape, generator=torch.Generator().manual_seed(7))
    parameters = [attention.logit_HNK, attention.value.weight]
    of_found, of_expected = (torch.autograd.grad((size_BNHK * given).sum(), parameters) for given in (found, expected))
    for first, second in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def runs_of_rows(name: str) -> Tensor:
    """Rows of a batch: as training draws them, as inference asks for them, or without neighbours."""
    runs = {
        "training": [torch.arange(3), 40 + torch.arange(16), 43 + torch.arange(16), 7 + torch.arange(9), torch.tensor([90])],
        "inference": [torch.arange(50)],
        "alone": [torch.tensor([5, 3, 80, 12, 30, 3]), 100 + 2 * torch.arange(20)],
    }
    return torch.cat(runs[name]) + LAGS


@pytest.mark.parametrize("ahead", [None, (0, 2), (2, 9)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["training", "inference", "alone"])
def test_rows_in_pieces_have_the_products_of_each_row_alone(name: str, masked: bool, ahead: tuple[int, int] | None) -> None:
    generator = torch.Generator().manual_seed(4)
    row_B = runs_of_rows(name)
    bar_U, place_BL = torch.unique(row_B[:, None] - torch.arange(LAGS), return_inverse=True)
    weight_HNK = torch.rand(HEADS, ASSETS, PAIRS, generator=generator).requires_grad_()
    value_UMHJ = torch.randn(len(bar_U), ASSETS, HEADS, 3, generator=generator).requires_grad_()
    readable_BM = torch.rand(len(row_B), ASSETS, generator=generator) < 0.7 if masked else None
    pattern = PairPattern.of(some_pairs().sort(dim=1).values, LAGS)
    found_BNHJ = sparse_products(weight_HNK, value_UMHJ, place_BL, readable_BM, pattern, ahead)
    value_BLMHJ = value_UMHJ[place_BL]
    if readable_BM is not None:
        value_BLMHJ = value_BLMHJ * readable_BM[:, None, :, None, None]
    if ahead is not None:
        none_BLMHJ = torch.zeros_like(value_BLMHJ)
        later = [
            torch.cat([none_BLMHJ[:, :s], value_BLMHJ[:, : LAGS - s]], dim=1) for s in range(ahead[0], min(ahead[1], LAGS) + 1)
        ]
        value_BLMHJ = torch.stack(later).sum(dim=0)
    expected_BNHJ = torch.einsum("hnk,bnkhj->bnhj", weight_HNK, value_BLMHJ[:, pattern.lag_NK, pattern.source_NK])
    torch.testing.assert_close(found_BNHJ, expected_BNHJ, rtol=1e-5, atol=1e-5)
    size_BNHJ = torch.randn(found_BNHJ.shape, generator=generator)
    of_found, of_expected = (
        torch.autograd.grad((size_BNHJ * given).sum(), [weight_HNK, value_UMHJ]) for given in (found_BNHJ, expected_BNHJ)
    )
    for first, second in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_parameter() -> None:
    for content in (False, True):
        attention = candidates(content=content)
        attention(tokens_with(scattered_mask()))[0].square().sum().backward()
        for name, parameter in attention.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("top_sources", [None, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_a_source_moves_the_context_by_what_it_says_itself(masked: bool, top_sources: int | None) -> None:
    attention = candidates(top_sources=top_sources).eval()
    now = tokens_with(scattered_mask() if masked else None)
    past = AssetTokens(now.token_UMD.flip(0), RecentBars(now.bars.bar_UNC.flip(0), now.bars.place_BL, now.bars.readable_BN))
    plain_BNHJ, moves = attention.context(now), attention.moved_by_source(now, past)
    assert moves is not None
    for m, move_BNHJ in enumerate(moves):
        token_UMD, bar_UNC = now.token_UMD.clone(), now.bars.bar_UNC.clone()
        token_UMD[:, m], bar_UNC[:, m] = past.token_UMD[:, m], past.bars.bar_UNC[:, m]
        whole_BNHJ = attention.context(AssetTokens(token_UMD, RecentBars(bar_UNC, now.bars.place_BL, now.bars.readable_BN)))
        torch.testing.assert_close(plain_BNHJ + move_BNHJ, whole_BNHJ, rtol=1e-5, atol=2e-6)
    assert m == ASSETS - 1


def test_content_lets_one_source_move_the_weights_of_all() -> None:
    attention = candidates(content=True)
    assert attention.moved_by_source(tokens_with(), tokens_with()) is None


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_looking_ahead_agrees_with_stepping_through_silence(masked: bool, content: bool) -> None:
    attention, tokens = candidates(content=content), tokens_with(scattered_mask() if masked else None)
    for first, last in ((0, 0), (1, 1), (1, 3), (2, 40)):
        stepped_BNHK = CrossAttention.ahead(attention, tokens, first, last)
        found_BNHK = attention.ahead(tokens, first, last)
        torch.testing.assert_close(found_BNHK, stepped_BNHK, rtol=1e-4, atol=1e-5)
        if not content:
            of_found, of_stepped = (
                torch.autograd.grad(given.square().sum(), [attention.logit_HNK, attention.value.weight], retain_graph=True)
                for given in (found_BNHK, stepped_BNHK)
            )
            torch.testing.assert_close(of_found, of_stepped, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("content", [False, True])
def test_what_a_masked_asset_holds_never_matters(content: bool) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[:, 2] = False
    tokens, attention = tokens_with(readable_BN), candidates(content=content)
    rewritten_UMD = tokens.token_UMD.clone()
    rewritten_UMD[:, 2] = 100.0
    before, after = attention(tokens), attention(AssetTokens(rewritten_UMD, tokens.bars))
    others = [0, 1, 3, 4]
    torch.testing.assert_close(before[0][:, others], after[0][:, others], rtol=0, atol=0)
    assert (before[1][:, :, :, 2] == 0).all()


@pytest.mark.parametrize("content", [False, True])
def test_permuting_assets_with_their_pairs_permutes_the_context(content: bool) -> None:
    attention, tokens = candidates(content=content), tokens_with(scattered_mask())
    order = torch.tensor([2, 0, 4, 1, 3])
    context_BNHK, weight_BHNML = attention(tokens)
    bars, new_of_old = tokens.bars, torch.argsort(order)
    moved = AssetTokens(tokens.token_UMD[:, order], RecentBars(bars.bar_UNC[:, order], bars.place_BL, bars.readable_BN[:, order]))
    pair_NK = attention.pair_NK[order]
    pair_NK, place_NK = (new_of_old[pair_NK // LAGS] * LAGS + pair_NK % LAGS).sort(dim=1)
    with torch.no_grad():
        attention.logit_HNK.copy_(attention.logit_HNK[:, order].gather(2, place_NK.expand_as(attention.logit_HNK)))
        attention.gain_HN.copy_(attention.gain_HN[:, order])
        attention.pair_NK.copy_(pair_NK)
    moved_BNHK, moved_BHNML = attention(moved)
    torch.testing.assert_close(moved_BNHK, context_BNHK[:, order], rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(moved_BHNML, weight_BHNML[:, :, order][:, :, :, order])


def test_a_bar_after_the_row_is_never_read() -> None:
    attention, tokens = candidates(), tokens_with()
    rewritten_UMD = tokens.token_UMD.clone()
    rewritten_UMD[LAGS + 1 :] = 100.0
    before, after = attention(tokens)[0], attention(AssetTokens(rewritten_UMD, tokens.bars))[0]
    assert torch.equal(before[:2], after[:2])
    assert not torch.equal(before[2:], after[2:])


def test_the_same_products_have_the_same_bits() -> None:
    def run() -> list[Tensor]:
        attention = candidates()
        context_BNHK = attention(tokens_with(scattered_mask()))[0]
        return [context_BNHK.detach(), *torch.autograd.grad(context_BNHK.square().sum(), list(attention.parameters()))]

    assert all(torch.equal(first, second) for first, second in zip(run(), run(), strict=True))


def test_weights_that_differ_by_row_are_gathered_row_by_row() -> None:
    generator = torch.Generator().manual_seed(3)
    weight_BHNK = torch.rand(BATCH, HEADS, ASSETS, PAIRS, generator=generator)
    value_UMHJ = torch.randn(BATCH + LAGS - 1, ASSETS, HEADS, 2, generator=generator)
    place_BL, pattern = tokens_with().bars.place_BL, PairPattern.of(some_pairs().sort(dim=1).values, LAGS)
    found_BNHJ = gathered_products(weight_BHNK, value_UMHJ, place_BL, pattern)
    for row in range(BATCH):
        one_1NHJ = sparse_products(weight_BHNK[row], value_UMHJ, place_BL[row : row + 1], None, pattern)
        torch.testing.assert_close(found_BNHJ[row], one_1NHJ[0], rtol=1e-5, atol=1e-6)


def test_a_pair_that_was_read_before_keeps_its_weight_and_new_ones_share_what_left() -> None:
    attention = candidates(lag_prior=1.0)
    before_HNML = attention(tokens_with())[1][0]
    pair_NK = attention.pair_NK.clone()
    left_N = pair_NK[:, 0].clone()
    taken_NS = torch.zeros(ASSETS, ASSETS * LAGS, dtype=torch.bool).scatter(1, pair_NK, True)
    own_NS = torch.arange(ASSETS * LAGS)[None] // LAGS == torch.arange(ASSETS)[:, None]
    new_N = (taken_NS | own_NS).int().argmin(dim=1)
    pair_NK[:, 0] = new_N
    attention.read_pairs(pair_NK)
    after_HNML = attention(tokens_with())[1][0]
    before_HNS, after_HNS = before_HNML.flatten(2), after_HNML.flatten(2)
    floor = 0.1 / PAIRS
    for n in range(ASSETS):
        new_H = before_HNS[:, n, left_N[n]].clamp_min(floor)
        total_H = 1 - before_HNS[:, n, left_N[n]] + new_H
        torch.testing.assert_close(after_HNS[:, n, new_N[n]], new_H / total_H)
        kept = [int(s) for s in pair_NK[n] if s != new_N[n]]
        torch.testing.assert_close(after_HNS[:, n, kept], before_HNS[:, n, kept] / total_H[:, None])


def test_every_pair_is_attended_over_up_to_a_size_and_few_beyond() -> None:
    settings = ModelSettings()
    assert candidate_pairs(settings, 100) is None
    assert candidate_pairs(settings, 300) == candidate_pairs(settings, 1000) == 64
    assert candidate_pairs(settings.model_copy(update={"candidate_pairs": "all"}), 1000) is None
    assert candidate_pairs(settings.model_copy(update={"candidate_pairs": 32}), 10) == 32
    assert candidate_pairs(settings.model_copy(update={"candidate_pairs": 32}), 2) is None
    assert type(LagBiasAttention.of(SHAPE, settings_with())) is LagBiasAttention
    attention = LagBiasAttention.of(SHAPE, settings_with(candidate_pairs=PAIRS))
    assert isinstance(attention, CandidatePairAttention)
    _, weight_BHNML = attention(tokens_with())
    torch.testing.assert_close(attention.gain_HN, torch.full((HEADS, ASSETS), math.sqrt(PAIRS)))
    assert (weight_BHNML[0, 0].flatten(1) > 0).sum(dim=1).tolist() == [PAIRS] * ASSETS
    assert torch.diagonal(weight_BHNML[0, 0]).sum() == 0
