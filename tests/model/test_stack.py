"""The encoder stack keeps every promise of cross-attention, in each of its variants and in every layer."""

import pytest
import torch
from torch import Tensor, nn

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION
from crossattn_core.model.network import build_network
from crossattn_core.model.shape import NetworkShape
from crossattn_core.model.stack import EncoderStack, Heard
from crossattn_core.model.stacked import StackedNetwork
from crossattn_core.panel.windows import RecentBars

ASSETS, CHANNELS, BATCH, LOOKBACK, PATCH = 5, 3, 4, 24, 4
SECTORS, MARKETS = (0, 0, 1, 1, 2), (0, 0, 0, 0, 1)
KINDS = [kind for kind, variant in ATTENTION.items() if variant.reads_others]
KNOBS = {"architecture": "stacked", "lookback": LOOKBACK, "patch": PATCH, "max_lag": 10, "width": 24, "heads": 6, "layers": 2}
LAGS = 3
ORDER = torch.tensor([3, 0, 4, 1, 2])


def network_of(kind: str, *, shape: NetworkShape | None = None, **knobs: object) -> StackedNetwork:
    settings = ModelSettings.model_validate({**KNOBS, "top_sources": 2, "content": True, "cross_attention": kind, **knobs})
    shape = shape or NetworkShape(ASSETS, CHANNELS, 3, SECTORS, MARKETS)
    network = build_network(shape, settings, torch.Generator().manual_seed(4)).eval()
    assert isinstance(network, StackedNetwork)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


def windows(readable_BN: Tensor | None = None) -> RecentBars:
    """Windows that end at rows 40, 41, 66 and 69."""
    bar_TNC = torch.randn(70, ASSETS, CHANNELS, generator=torch.Generator().manual_seed(7))
    bar_TNC[..., -1] = 1.0
    row_B = torch.tensor([40, 41, 66, 69])
    bar_U, place_BL = torch.unique(row_B[:, None] - torch.arange(LOOKBACK), return_inverse=True)
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool) if readable_BN is None else readable_BN
    return RecentBars(bar_TNC[bar_U], place_BL, readable_BN)


def forecast(network: StackedNetwork, recent: RecentBars) -> Tensor:
    return network.whole(recent)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layers_weights_are_shares_of_one_among_readable_others(kind: str) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[0, 3] = False
    _, weight_BHNML = network_of(kind).cross_part_and_weights(windows(readable_BN))
    assert weight_BHNML.shape == (BATCH, 2 * 6, ASSETS, ASSETS, 10)
    assert (weight_BHNML[0, :, :, 3] == 0).all()
    assert (torch.diagonal(weight_BHNML, dim1=2, dim2=3) == 0).all()
    total_BHN = weight_BHNML.sum(dim=(-2, -1))
    reads_BHN = total_BHN > 0
    torch.testing.assert_close(total_BHN[reads_BHN], torch.ones(int(reads_BHN.sum())))
    # A hierarchy may find nobody in a target's own sector.
    assert kind == "hierarchical" or reads_BHN.all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_masked_asset_holds_moves_no_other_forecast(kind: str) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[:, 3] = False
    network, recent = network_of(kind), windows(readable_BN)
    rewritten_UNC = recent.bar_UNC.clone()
    rewritten_UNC[:, 3, :-1] = 50.0
    others = [0, 1, 2, 4]
    after_BNO = forecast(network, RecentBars(rewritten_UNC, recent.place_BL, readable_BN))
    torch.testing.assert_close(after_BNO[:, others], forecast(network, recent)[:, others], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_asset_with_nobody_to_read_forecasts_as_if_alone(kind: str) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[1] = False
    network, recent = network_of(kind), windows(readable_BN)
    cross_BNO, weight_BHNML = network.cross_part_and_weights(recent)
    assert (cross_BNO[1] == 0).all()
    assert (weight_BHNML[1] == 0).all()
    own_BNO = network.own_part(recent.spread(recent.bar_UNC).flip(1))
    torch.testing.assert_close(forecast(network, recent)[1], own_BNO[1])
    assert not torch.allclose(forecast(network, recent)[0], own_BNO[0])


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_of_any_layer_reads_a_later_bar(kind: str) -> None:
    stack = network_of(kind).stack
    bar_BNLC = torch.randn(2, ASSETS, LOOKBACK, CHANNELS, generator=torch.Generator().manual_seed(8))
    later_BNLC = bar_BNLC.clone()
    later_BNLC[:, :, -PATCH:] += 5.0
    heard = Heard(torch.ones(2, ASSETS, LOOKBACK // PATCH), torch.ones(2, ASSETS, dtype=torch.bool))
    before_BNPD, after_BNPD = stack.embedded(bar_BNLC), stack.embedded(later_BNLC)
    for layer in stack.layers:
        before_BNPD, after_BNPD = (layer(token, heard, None, newest=False)[0] for token in (before_BNPD, after_BNPD))
        torch.testing.assert_close(after_BNPD[:, :, :-1], before_BNPD[:, :, :-1], rtol=0, atol=0)
        assert not torch.allclose(after_BNPD[:, :, -1], before_BNPD[:, :, -1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewritten_bar_moves_only_rows_whose_window_holds_it(kind: str) -> None:
    network, recent = network_of(kind), windows()
    rewritten_UNC = recent.bar_UNC.clone()
    rewritten_UNC[recent.place_BL[1, 0], :, 0] += 3.0
    before_BNO = forecast(network, recent)
    after_BNO = forecast(network, RecentBars(rewritten_UNC, recent.place_BL, recent.readable_BN))
    rows = [0, 2, 3]
    torch.testing.assert_close(after_BNO[rows], before_BNO[rows], rtol=0, atol=0)
    assert not torch.equal(after_BNO[1], before_BNO[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_last_layer_that_gives_the_newest_step_alone_gives_what_it_would_give_among_all(kind: str) -> None:
    stack = network_of(kind).stack
    token_BNPD = torch.randn(2, ASSETS, LOOKBACK // PATCH, 24, generator=torch.Generator().manual_seed(8))
    heard = Heard(torch.ones(2, ASSETS, LOOKBACK // PATCH), torch.ones(2, ASSETS, dtype=torch.bool))
    every_BNPD, every_BHNMW = stack.layers[1](token_BNPD, heard, None, newest=False)
    newest_BN1D, newest_BHNMW = stack.layers[1](token_BNPD, heard, None, newest=True)
    torch.testing.assert_close(newest_BN1D, every_BNPD[:, :, -1:])
    torch.testing.assert_close(newest_BHNMW, every_BHNMW)


AXES = {"logit_HNLM": (1, 3), "logit_HNM": (1, 2), "mixture_HNL": (1,), "source_HNM": (1, 2), "time_HMPL": (1,)}
AXES |= {"assets": (1, 2), "sectors": (1,), "markets": (1,), "identity_ND": (0,), "own_NOD": (0,)}


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_assets_with_their_parameters_permutes_forecasts_and_weights(kind: str) -> None:
    network, recent = network_of(kind), windows()
    before_BNO, before_BHNMW = network.whole(recent)
    groups = (tuple(of_asset[n] for n in ORDER) for of_asset in (SECTORS, MARKETS))
    moved, weights = network_of(kind, shape=NetworkShape(ASSETS, CHANNELS, 3, *groups)), network.state_dict()
    for name, value in weights.items():
        if name.endswith("step_HNS"):
            weights[name] = value[:, ORDER].unflatten(-1, (ASSETS, -1))[:, :, ORDER].flatten(2)
        for axis in AXES.get(name.rsplit(".", 1)[-1], ()):
            weights[name] = weights[name].index_select(axis, ORDER)
    moved.load_state_dict(weights)
    after_BNO, after_BHNMW = moved.whole(RecentBars(recent.bar_UNC[:, ORDER], recent.place_BL, recent.readable_BN[:, ORDER]))
    torch.testing.assert_close(after_BNO, before_BNO[:, ORDER], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after_BHNMW, before_BHNMW[:, :, ORDER][:, :, :, ORDER], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", ["returns", "direction", "weights"])
def test_gradients_reach_every_parameter_under_every_head(kind: str, head: str) -> None:
    network = network_of(kind, head=head, dropout=0.0, embedding="convolution", kernel=6).train()
    forecast(network, windows()).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_in_training_some_rows_stand_alone_and_the_others_do_not() -> None:
    network, recent = network_of("lag_bias", dropout=0.5), windows()
    own_BNO = network.own_part(recent.spread(recent.bar_UNC).flip(1))
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.manual_seed(0)
    seen = set()
    for _ in range(4):
        trained_BNO = forecast(network.train(), recent)
        seen |= {torch.allclose(trained_BNO[b], own_BNO[b], atol=1e-5) for b in range(BATCH)}
    assert seen == {True, False}


def test_one_layers_last_attention_is_torchs_multi_head_attention_over_the_others_at_each_step() -> None:
    stack = network_of("last", layers=1).stack
    layer = stack.layers[0]
    token_BNPD = stack.embedded(torch.randn(2, ASSETS, LOOKBACK, CHANNELS, generator=torch.Generator().manual_seed(8)))
    heard = Heard(torch.ones(2, ASSETS, LOOKBACK // PATCH), torch.ones(2, ASSETS, dtype=torch.bool))
    theirs = nn.MultiheadAttention(24, 6, bias=False, batch_first=True)
    cross = layer.cross
    with torch.no_grad():
        cross.logit_HNM.zero_()
        theirs.in_proj_weight.copy_(torch.cat([cross.query.weight, cross.key.weight, cross._gain * cross.value.weight]))
        theirs.out_proj.weight.copy_(layer.out.weight)
    kept_BNPD = layer.time.attend(token_BNPD.flatten(0, 1)).unflatten(0, token_BNPD.shape[:2])
    step_RND = layer.norm_cross(kept_BNPD).transpose(1, 2).flatten(0, 1)
    said_RND, weight_RNM = theirs(step_RND, step_RND, step_RND, attn_mask=torch.eye(ASSETS, dtype=torch.bool))
    said_BNPD = said_RND.unflatten(0, (2, -1)).transpose(1, 2)
    ours_BNPD, ours_BHNMW = layer(token_BNPD, heard, None, newest=False)
    torch.testing.assert_close(ours_BNPD, layer.time.feed_forward(kept_BNPD + said_BNPD), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours_BHNMW[..., 0].mean(dim=1), weight_RNM.unflatten(0, (2, -1))[:, -1], rtol=1e-4, atol=1e-5)


def test_a_patchs_weight_is_spread_over_its_bars_within_reach() -> None:
    stack = network_of("lag_bias").stack
    weight_BHNMW = torch.tensor([0.4, 0.4, 0.2]).expand(1, 1, 1, 1, LAGS)
    expected = torch.tensor([0.1] * 8 + [0.1] * 2)
    torch.testing.assert_close(stack.over_bars(weight_BHNMW, 10)[0, 0, 0, 0], expected)


def test_a_start_at_screened_pairs_gives_a_lags_share_to_the_patch_that_holds_it_in_every_layer() -> None:
    shape = NetworkShape(ASSETS, CHANNELS, 3, SECTORS, MARKETS)
    settings = ModelSettings.model_validate({**KNOBS, "cross_attention": "lag_bias"})
    network = build_network(shape, settings, torch.Generator().manual_seed(4)).eval()
    share_ONLM = torch.zeros(3, ASSETS, 10, ASSETS)
    share_ONLM[0, 2, 5, 4], share_ONLM[0, 2, 6, 4], share_ONLM[0, 2, 9, 1] = 0.3, 0.2, 0.1  # lags of a patch are 4
    share_ONLM[1:, 2, 0, 3] = 0.8  # other outputs' pairs are not the next bar's
    network.start_from(share_ONLM, learned=False)
    assert isinstance(network, StackedNetwork)
    _, weight_BHNMW = network.whole(windows())
    even = 0.4 / (LAGS * (ASSETS - 1))
    expected_MW = torch.full((ASSETS, LAGS), even)
    expected_MW[2], expected_MW[4, 1], expected_MW[1, 2] = 0.0, even + 0.5, even + 0.1
    torch.testing.assert_close(weight_BHNMW[:, :, 2], expected_MW.expand(BATCH, 12, ASSETS, LAGS))


def test_the_same_seed_builds_the_same_stack_and_gives_the_same_bits_twice() -> None:
    recent = windows()
    first, second = network_of("lagged"), network_of("lagged")
    assert torch.equal(forecast(first, recent), forecast(second, recent))
    assert torch.equal(forecast(first, recent), forecast(first, recent))


def test_a_window_may_be_longer_or_shorter_than_the_stack_was_made_for() -> None:
    stack = EncoderStack(NetworkShape(ASSETS, CHANNELS, 1), ModelSettings.model_validate(KNOBS)).eval()
    for steps in (1, 2, 9):
        heard = Heard(torch.ones(2, ASSETS, steps), torch.ones(2, ASSETS, dtype=torch.bool))
        summary_BND, weights = stack(torch.randn(2, ASSETS, steps * PATCH, CHANNELS), heard)
        assert summary_BND.shape == (2, ASSETS, 24)
        assert [tuple(weight.shape) for weight in weights] == [(2, 6, ASSETS, ASSETS, LAGS)] * 2
