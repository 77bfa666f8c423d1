"""The attentions by name: torch's own attention given the same weights, and the promises of every attention here."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from crossattn_core.model import (
    HierarchicalCrossAttention,
)
from crossattn_core.model.plain.modules import ProjectedAttention
from tests.model.plain.attentions import (
    ASSETS,
    BATCH,
    HEADS,
    KINDS,
    MARKETS,
    MAX_LAG,
    ORDER,
    SECTORS,
    STEPS,
    WIDTH,
    everything_readable,
    module_of,
    tokens,
)


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_reads_a_later_one(kind: str) -> None:
    module, run, token_BNTD = module_of(kind), KINDS[kind], tokens()
    later_BNTD = token_BNTD.clone()
    later_BNTD[:, :, 4:] += 3.0
    before_BNTD, after_BNTD = (run(module, token, everything_readable()) for token in (token_BNTD, later_BNTD))
    torch.testing.assert_close(after_BNTD[:, :, :4], before_BNTD[:, :, :4], rtol=0, atol=0)
    assert not torch.allclose(after_BNTD[:, :, 4:], before_BNTD[:, :, 4:])


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_masked_asset_holds_moves_nobody_else(kind: str) -> None:
    module, run, token_BNTD, readable_BN = module_of(kind), KINDS[kind], tokens(), everything_readable()
    readable_BN[:, 3] = False
    rewritten_BNTD = token_BNTD.clone()
    rewritten_BNTD[:, 3] = 50.0
    before_BNTD, after_BNTD = (run(module, token, readable_BN) for token in (token_BNTD, rewritten_BNTD))
    others = [n for n in range(before_BNTD.shape[1]) if n != 3]
    torch.testing.assert_close(after_BNTD[:, others], before_BNTD[:, others], rtol=0, atol=0)
    assert not torch.allclose(before_BNTD, run(module, token_BNTD, everything_readable()))


@pytest.mark.parametrize("kind", KINDS)
def test_with_nothing_to_read_outputs_are_finite_and_contexts_are_zero(kind: str) -> None:
    module, token_BNTD = module_of(kind), tokens()
    out_BNTD = KINDS[kind](module, token_BNTD, ~everything_readable())
    assert torch.isfinite(out_BNTD).all()
    if kind == "one asset":
        assert (out_BNTD == 0).all()
    elif kind == "hierarchical":
        torch.testing.assert_close(out_BNTD, module.combine.bias.expand_as(out_BNTD))
    else:
        torch.testing.assert_close(out_BNTD, module.norm(token_BNTD))


@pytest.mark.parametrize("kind", ["one asset", "pooled", "temporal"])
def test_permuting_assets_permutes_outputs(kind: str) -> None:
    module, token_BNTD = module_of(kind), tokens()
    if kind == "one asset":
        other_BMTD, order = token_BNTD[:, 1:], ORDER[ORDER < 4]
        (before_BTD, before_BHTM), (after_BTD, after_BHTM) = (
            module(token_BNTD[:, 0], o) for o in (other_BMTD, other_BMTD[:, order])
        )
        torch.testing.assert_close(after_BTD, before_BTD)
        torch.testing.assert_close(after_BHTM, before_BHTM[..., order])
        return
    (before_BNTD, before), (after_BNTD, after) = module(token_BNTD), module(token_BNTD[:, ORDER])
    torch.testing.assert_close(after_BNTD, before_BNTD[:, ORDER])
    torch.testing.assert_close(after, before[..., ORDER, :][..., ORDER])


def test_permuting_assets_with_their_groups_permutes_the_hierarchy() -> None:
    module, token_BNTD = module_of("hierarchical"), tokens()
    moved = HierarchicalCrossAttention(WIDTH, HEADS, [SECTORS[n] for n in ORDER], [MARKETS[int(n)] for n in ORDER]).eval()
    moved.load_state_dict(module.state_dict())
    torch.testing.assert_close(moved(token_BNTD[:, ORDER]), module(token_BNTD)[:, ORDER])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str) -> None:
    module = module_of(kind)
    KINDS[kind](module, tokens(), everything_readable()).square().mul(torch.arange(WIDTH)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        # A softmax does not see what is added to all keys alike.
        assert name.endswith("key.bias") or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits_twice(kind: str) -> None:
    first, second = (KINDS[kind](module_of(kind), tokens(), everything_readable()) for _ in range(2))
    assert torch.equal(first, second)


def test_projected_attention_is_torchs_multi_head_attention() -> None:
    attention = module_of("pooled").attention
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([attention.query.bias, attention.key.bias, attention.value.bias]))
        theirs.out_proj.load_state_dict(attention.out.state_dict())
    query_QND, source_QMD = tokens()[:, :, 0], tokens()[:, :, 1]
    allowed_QNM = torch.rand(BATCH, ASSETS, ASSETS, generator=torch.Generator().manual_seed(1)) > 0.3
    allowed_QNM[..., 0] = True
    context_QND, weight_QHNM = attention(query_QND, source_QMD, allowed_QNM)
    blocked = ~allowed_QNM.repeat_interleave(HEADS, dim=0)
    expected_QND, expected_QHNM = theirs(query_QND, source_QMD, source_QMD, attn_mask=blocked, average_attn_weights=False)
    torch.testing.assert_close(context_QND, expected_QND, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight_QHNM, expected_QHNM, rtol=1e-4, atol=1e-5)


def mapped(attention: ProjectedAttention, query_BND: Tensor, source_BMD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    maps = ((attention.query, query_BND), (attention.key, source_BMD), (attention.value, source_BMD))
    parts = [linear(token_BXD).unflatten(-1, (attention.heads, -1)).transpose(1, 2) for linear, token_BXD in maps]
    return parts[0], parts[1], parts[2]


def test_at_the_newest_step_one_asset_reads_the_newest_token_of_each_other() -> None:
    module, token_BNTD = module_of("one asset"), tokens()
    context_BTD, weight_BHTM = module(token_BNTD[:, 0], token_BNTD[:, 1:])
    assert weight_BHTM.shape == (BATCH, HEADS, STEPS, ASSETS - 1)
    torch.testing.assert_close(weight_BHTM.sum(dim=-1), torch.ones(BATCH, HEADS, STEPS))
    mixed_BHTK = functional.scaled_dot_product_attention(*mapped(module.attention, token_BNTD[:, 0], token_BNTD[:, 1:, -1]))
    expected_BTD = module.attention.out(mixed_BHTK.transpose(1, 2).flatten(2))
    torch.testing.assert_close(context_BTD[:, -1], expected_BTD[:, -1], rtol=1e-4, atol=1e-5)


def test_at_the_newest_step_pooled_attention_reads_means_over_the_window() -> None:
    module, token_BNTD, other_BMTD = module_of("pooled"), tokens(), 2 * tokens()[:, :3]
    out_BNTD, weight_BHNM = module(token_BNTD, other_BMTD)
    assert weight_BHNM.shape == (BATCH, HEADS, ASSETS, 3)
    parts = mapped(module.attention, token_BNTD.mean(dim=2), other_BMTD.mean(dim=2))
    mixed_BND = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    expected_BND = module.norm(token_BNTD[:, :, -1] + module.attention.out(mixed_BND))
    torch.testing.assert_close(out_BNTD[:, :, -1], expected_BND, rtol=1e-4, atol=1e-5)


def test_temporal_attention_is_scaled_dot_product_attention_at_each_lag_mixed_by_the_shares_of_the_lags() -> None:
    module, token_BNTD, other_BMTD = module_of("temporal"), tokens(), 2 * tokens()[:, :3]
    out_BNTD, weight_BLHNM = module(token_BNTD, other_BMTD)
    assert weight_BLHNM.shape == (BATCH, MAX_LAG + 1, HEADS, ASSETS, 3)
    share_L = module.lag_logit_L.softmax(dim=0)
    torch.testing.assert_close(weight_BLHNM.sum(dim=-1)[:, :, 0, 0], share_L.expand(BATCH, -1))
    mixed_BHNK = sum(
        share
        * functional.scaled_dot_product_attention(*mapped(module.attention, token_BNTD[:, :, -1], other_BMTD[:, :, -1 - lag]))
        for lag, share in enumerate(share_L)
    )
    expected_BND = module.norm(token_BNTD[:, :, -1] + module.attention.out(mixed_BHNK.transpose(1, 2).flatten(2)))
    torch.testing.assert_close(out_BNTD[:, :, -1], expected_BND, rtol=1e-4, atol=1e-5)


def test_temporal_attention_says_nothing_from_before_the_window() -> None:
    module = module_of("temporal")
    token_BNTD, empty_BNTD = tokens()[:, :, :1], torch.zeros(BATCH, ASSETS, 1, WIDTH)
    with torch.no_grad():
        module.lag_logit_L.copy_(torch.tensor([-100.0, 0.0, 0.0]))
    # The only share of weight lies on lags that reach before the first step.
    out_BNTD, _ = module(token_BNTD, empty_BNTD)
    torch.testing.assert_close(out_BNTD, module.norm(token_BNTD + module.attention.out.bias))


def test_the_hierarchy_is_three_attentions_over_means_of_groups() -> None:
    module, token_BNTD = module_of("hierarchical"), tokens()
    parts_BND = []
    for level, groups_N in (("sectors", SECTORS), ("markets", [MARKETS[n] for n in range(ASSETS)])):
        names = list(dict.fromkeys(groups_N))
        members = [[n for n in range(ASSETS) if groups_N[n] == name] for name in names]
        mean_BGD = torch.stack([token_BNTD[:, held, -1].mean(dim=1) for held in members], dim=1)
        attention = module.levels[level]
        mixed_BGD = functional.scaled_dot_product_attention(*mapped(attention, mean_BGD, mean_BGD)).transpose(1, 2).flatten(2)
        parts_BND.append(attention.out(mixed_BGD)[:, [names.index(group) for group in groups_N]])
    newest_BND, asset_heads = token_BNTD[:, :, -1], module.levels["assets"]
    other_NM = ~torch.eye(ASSETS, dtype=torch.bool)
    mixed_BHNK = functional.scaled_dot_product_attention(*mapped(asset_heads, newest_BND, newest_BND), attn_mask=other_NM)
    parts_BND.insert(0, asset_heads.out(mixed_BHNK.transpose(1, 2).flatten(2)))
    assert [module.levels[level].heads for level in ("assets", "sectors", "markets")] == [4, 2, 1]
    torch.testing.assert_close(module(token_BNTD)[:, :, -1], module.combine(torch.cat(parts_BND, dim=-1)), rtol=1e-4, atol=1e-5)


def test_a_mask_may_name_who_reads_whom() -> None:
    mask_BNM = torch.ones(BATCH, ASSETS, ASSETS, dtype=torch.bool)
    mask_BNM[:, 0, 1] = False
    _, weight_BHNM = module_of("pooled")(tokens(), mask=mask_BNM)
    assert (weight_BHNM[:, :, 0, 1] == 0).all()
    assert (torch.diagonal(weight_BHNM, dim1=2, dim2=3) == 0).all()
    assert (weight_BHNM[:, :, 2, 1] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_asset_without_numbers_moves_nobody_else_and_no_gradient(kind: str) -> None:
    module, run, token_BNTD, readable_BN = module_of(kind), KINDS[kind], tokens(), everything_readable()
    readable_BN[:, 3] = False
    token_BNTD[:, 3] = 0.0
    silent_BNTD = token_BNTD.clone()
    silent_BNTD[:, 3] = torch.tensor([torch.nan, torch.inf] * (WIDTH // 2))
    out_BNTD = run(module, silent_BNTD, readable_BN)
    torch.testing.assert_close(out_BNTD, run(module, token_BNTD, readable_BN), rtol=0, atol=0)
    out_BNTD.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_flows_from_a_step_to_a_later_one_or_to_a_masked_asset(kind: str) -> None:
    token_BNTD, readable_BN = tokens().requires_grad_(), everything_readable()
    readable_BN[:, 3] = False
    out_BNTD = KINDS[kind](module_of(kind), token_BNTD, readable_BN)
    # Asset 0 at step 4; an odd function, as LayerNorm's outputs sum to the same.
    out_BNTD[:, 0, 4].pow(3).sum().backward()
    assert (token_BNTD.grad[:, :, 5:] == 0).all()
    assert (token_BNTD.grad[:, 3] == 0).all()
    assert (token_BNTD.grad[:, :3, 4].abs().sum(dim=-1) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held", [3e38, -3e38, 1e30, torch.inf])
def test_numbers_that_products_cannot_hold_of_a_masked_asset_move_nobody_else_and_no_gradient(kind: str, held: float) -> None:
    module, run, token_BNTD, readable_BN = module_of(kind), KINDS[kind], tokens(), everything_readable()
    readable_BN[:, 3] = False
    wild_BNTD = token_BNTD.clone()
    wild_BNTD[:, 3] = held
    wild_BNTD.requires_grad_()
    before_BNTD, after_BNTD = run(module, token_BNTD, readable_BN), run(module, wild_BNTD, readable_BN)
    others = [n for n in range(before_BNTD.shape[1]) if n != 3]
    torch.testing.assert_close(after_BNTD[:, others], before_BNTD[:, others], rtol=0, atol=0)
    after_BNTD[:, others].pow(3).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())
    assert (wild_BNTD.grad[:, 3] == 0).all()


@pytest.mark.parametrize("kind", ["pooled", "temporal"])
@pytest.mark.parametrize("held", [torch.nan, torch.inf])
def test_what_is_no_number_reaches_those_who_may_read_it_and_nobody_else(kind: str, held: float) -> None:
    module, token_BNTD = module_of(kind), tokens()
    mask_BNM = torch.ones(BATCH, ASSETS, ASSETS, dtype=torch.bool)
    mask_BNM[:, 0, 2] = False
    broken_BNTD = token_BNTD.clone()
    broken_BNTD[:, 2, 5:] = held
    (before_BNTD, before), (after_BNTD, after) = (module(token, mask=mask_BNM) for token in (token_BNTD, broken_BNTD))
    torch.testing.assert_close(after_BNTD[:, 0], before_BNTD[:, 0], rtol=0, atol=0)
    torch.testing.assert_close(after[..., 0, :], before[..., 0, :], rtol=0, atol=0)
    torch.testing.assert_close(after_BNTD[:, :, :5], before_BNTD[:, :, :5], rtol=0, atol=0)
    assert torch.isnan(after_BNTD[:, [1, 3, 4], 5:]).all()


def test_groups_are_in_the_precision_that_modules_are_made_in() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        module = HierarchicalCrossAttention(WIDTH, HEADS, SECTORS, MARKETS)
    finally:
        torch.set_default_dtype(torch.float32)
    assert module(tokens()).dtype == torch.float64
