"""Every cross-attention keeps the same promises, whatever it computes."""

import itertools

import pytest
import torch
from torch import Tensor

from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention import row_chunks
from crossattn_core.model.attention.base import ATTENTION, AssetTokens
from crossattn_core.model.attention.hierarchical import HierarchicalAttention, head_levels
from crossattn_core.model.network import CrossAssetNetwork, build_network
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.windows import RecentBars

ASSETS, CHANNELS, BATCH = 5, 3, 4
KINDS = ATTENTION.names()
READERS = [kind for kind, variant in ATTENTION.items() if variant.reads_others]
SETTINGS = {"lookback": 16, "patch": 4, "max_lag": 6, "width": 24, "heads": 6, "layers": 2, "value_width": 4, "top_sources": 2}


def network_of(kind: str, **knobs: object) -> CrossAssetNetwork:
    settings = ModelSettings.model_validate({**SETTINGS, "cross_attention": kind, **knobs})
    shape = NetworkShape(ASSETS, CHANNELS, outputs=3, sectors=(0, 0, 1, 1, 2), markets=(0, 0, 0, 0, 1))
    network = build_network(shape, settings, torch.Generator().manual_seed(4)).eval()
    with torch.no_grad():
        for parameter in network.cross.logit_parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(5))
        network.own_readout.weight.normal_(generator=torch.Generator().manual_seed(6))
    return network


def bars_with(readable_BN: Tensor | None = None) -> tuple[Tensor, RecentBars]:
    bar_TNC = torch.randn(40, ASSETS, CHANNELS, generator=torch.Generator().manual_seed(7))
    bar_TNC[..., -1] = 1.0
    row_B = torch.tensor([20, 21, 30, 39])
    window_BLNC = bar_TNC[row_B[:, None] + torch.arange(-15, 1)]
    bar_U, place_BL = torch.unique(row_B[:, None] - torch.arange(6), return_inverse=True)
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool) if readable_BN is None else readable_BN
    return window_BLNC, RecentBars(bar_TNC[bar_U], place_BL, readable_BN)


@pytest.mark.parametrize("kind", READERS)
def test_weights_are_shares_of_one_among_readable_others(kind: str) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[0, 3] = False
    weight_BHNML = network_of(kind)(*bars_with(readable_BN)).weight_BHNML
    assert (weight_BHNML >= 0).all()
    assert (weight_BHNML[0, :, :, 3] == 0).all()
    assert (torch.diagonal(weight_BHNML, dim1=2, dim2=3) == 0).all()
    total_BHN = weight_BHNML.sum(dim=(-2, -1))
    # A hierarchy may find nobody in a target's own sector: such a head has weights of 0, never a part of them.
    reads_BHN = total_BHN > 0
    torch.testing.assert_close(total_BHN[reads_BHN], torch.ones(int(reads_BHN.sum())))
    assert kind == "hierarchical" or reads_BHN.all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_with_nothing_readable_gets_a_cross_part_of_zero(kind: str) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[1] = False
    output = network_of(kind)(*bars_with(readable_BN))
    assert (output.weight_BHNML[1] == 0).all()
    assert (output.cross_BNO[1] == 0).all()
    assert torch.isfinite(output.forecast_BNO).all()


@pytest.mark.parametrize("kind", READERS)
def test_what_a_masked_asset_holds_moves_no_other_forecast(kind: str) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[:, 3] = False
    window_BLNC, recent = bars_with(readable_BN)
    network = network_of(kind)
    before_BNO = network(window_BLNC, recent).forecast_BNO
    rewritten_UNC = recent.bar_UNC.clone()
    rewritten_UNC[:, 3, :-1] = 50.0
    window_BLNC = window_BLNC.clone()
    window_BLNC[:, :, 3, :-1] = 50.0
    after_BNO = network(window_BLNC, RecentBars(rewritten_UNC, recent.place_BL, readable_BN)).forecast_BNO
    others = [0, 1, 2, 4]
    torch.testing.assert_close(after_BNO[:, others], before_BNO[:, others], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str) -> None:
    network = network_of(kind, content=True, dropout=0.0).train()
    output = network(*bars_with())
    output.forecast_BNO.square().sum().backward()
    unread = {"bar_token", "cross_readout_NOHK"} if kind == "off" else set()
    for name, parameter in network.named_parameters():
        if name.split(".")[0] in unread:
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", READERS)
def test_bars_that_have_not_happened_add_nothing_to_later_rows(kind: str) -> None:
    network = network_of(kind)
    _, recent = bars_with()
    nothing_BNO = network.ahead_part(recent, ((6, 40),))
    torch.testing.assert_close(nothing_BNO, torch.zeros_like(nothing_BNO))


def test_pooled_attention_cannot_tell_the_order_of_bars() -> None:
    network = network_of("pooled")
    _, recent = bars_with()
    mixed = RecentBars(recent.bar_UNC, recent.place_BL[:, torch.randperm(6)], recent.readable_BN)
    torch.testing.assert_close(network.cross_part(mixed), network.cross_part(recent))


def test_sparse_attention_keeps_no_more_than_its_sources() -> None:
    weight_BHNML = network_of("sparse")(*bars_with()).weight_BHNML
    assert int((weight_BHNML.sum(dim=-1) > 0).sum(dim=-1).max()) == SETTINGS["top_sources"]


def test_sparse_attention_with_every_source_is_lag_bias() -> None:
    window_BLNC, recent = bars_with()
    dense, sparse = network_of("lag_bias"), network_of("sparse", top_sources=ASSETS)
    sparse.load_state_dict(dense.state_dict())
    torch.testing.assert_close(sparse(window_BLNC, recent).forecast_BNO, dense(window_BLNC, recent).forecast_BNO)


SOURCE_AXES = {
    "logit_HNLM": (1, 3),
    "logit_HNM": (1, 2),
    "mixture_HNL": (1,),
    "source_HNM": (1, 2),
    "time_HMPL": (1,),
    "logits.assets": (1, 2),
    "logits.sectors": (1,),
    "logits.markets": (1,),
}


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_assets_with_their_parameters_permutes_forecasts_and_weights(kind: str) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    network, (window_BLNC, recent) = network_of(kind, content=True), bars_with()
    before = network(window_BLNC, recent)
    shape = NetworkShape(ASSETS, CHANNELS, 3, *(tuple(groups[n] for n in order) for groups in ((0, 0, 1, 1, 2), (0, 0, 0, 0, 1))))
    settings = ModelSettings.model_validate({**SETTINGS, "cross_attention": kind, "content": True})
    moved = build_network(shape, settings, torch.Generator().manual_seed(0)).eval()
    weights = network.state_dict()
    for name, value in weights.items():
        if name.endswith("identity_ND") or name == "cross_readout_NOHK":
            weights[name] = value[order]
        if name == "cross.step_HNS":
            weights[name] = value[:, order].unflatten(-1, (ASSETS, -1))[:, :, order].flatten(2)
        for axis in SOURCE_AXES.get(name.removeprefix("cross."), ()):
            weights[name] = weights[name].index_select(axis, order)
    moved.load_state_dict(weights)
    after = moved(window_BLNC[:, :, order], RecentBars(recent.bar_UNC[:, order], recent.place_BL, recent.readable_BN[:, order]))
    torch.testing.assert_close(after.forecast_BNO, before.forecast_BNO[:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.weight_BHNML, before.weight_BHNML[:, :, order][:, :, :, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewritten_bar_moves_only_rows_at_or_after_it(kind: str) -> None:
    network, (window_BLNC, recent) = network_of(kind, content=True), bars_with()
    rewritten_BLNC, rewritten_UNC = window_BLNC.clone(), recent.bar_UNC.clone()
    # The newest bar of row 21: it lies after row 20 and before the windows of rows 30 and 39.
    rewritten_BLNC[1, -1, :, 0] += 3.0
    rewritten_UNC[recent.place_BL[1, 0], :, 0] += 3.0
    before_BNO = network(window_BLNC, recent).forecast_BNO
    after_BNO = network(rewritten_BLNC, RecentBars(rewritten_UNC, recent.place_BL, recent.readable_BN)).forecast_BNO
    others = [0, 2, 3]
    torch.testing.assert_close(after_BNO[others], before_BNO[others], rtol=0, atol=0)
    assert not torch.equal(after_BNO[1], before_BNO[1])


@pytest.mark.parametrize("head", ["direction", "weights"])
@pytest.mark.parametrize("own_branch", ["attention", "portfolio_transformer", "lstm"])
def test_gradients_reach_every_parameter_under_every_head(head: str, own_branch: str) -> None:
    network = network_of("lag_bias", head=head, own_branch=own_branch, dropout=0.0, embedding="convolution", kernel=8).train()
    network(*bars_with()).forecast_BNO.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", READERS)
def test_rows_a_few_at_a_time_give_the_same_context_and_gradients(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[0, 3] = readable_BN[2, 1] = False
    _, recent = bars_with(readable_BN)
    found = []
    for at_most in (row_chunks.MAX_LOGITS, 1):
        monkeypatch.setattr(row_chunks, "MAX_LOGITS", at_most)
        network = network_of(kind, content=True)
        cross_BNO = network.cross_part(recent)
        cross_BNO.square().sum().backward()
        found.append([cross_BNO, *(p.grad for p in network.cross.parameters() if p.grad is not None)])
    for at_once, in_chunks in zip(*found, strict=True):
        torch.testing.assert_close(in_chunks, at_once)


def test_a_hierarchys_group_speaks_by_the_mean_of_its_readable_members_without_the_target() -> None:
    readable_BN = torch.ones(BATCH, ASSETS, dtype=torch.bool)
    readable_BN[0, 3] = readable_BN[1, :2] = readable_BN[2, 1] = False
    network = network_of("hierarchical")
    _, recent = bars_with(readable_BN)
    weight_BHNML = network.cross_part_and_weights(recent)[1]
    tokens = AssetTokens(network.bar_token(recent.bar_UNC), recent)
    cross = network.cross
    assert isinstance(cross, HierarchicalAttention)
    group_by_level = {"assets": range(ASSETS), "sectors": (0, 0, 1, 1, 2), "markets": (0, 0, 0, 0, 1)}
    spoken = {level: list(of_BHNGL.unbind(dim=1)) for level, of_BHNGL in cross.by_level(tokens).items()}
    for head, level in enumerate(head_levels(6)):
        of_BNGL, group_M = spoken[level].pop(0), group_by_level[level]
        for b, n in itertools.product(range(BATCH), range(ASSETS)):
            for group in set(group_M):
                members = [m for m in range(ASSETS) if group_M[m] == group and m != n and readable_BN[b, m]]
                for m in members:
                    torch.testing.assert_close(weight_BHNML[b, head, n, m], of_BNGL[b, n, group] / len(members))
                assert members or (of_BNGL[b, n, group] == 0).all()
        unreadable_BNM = (~readable_BN)[:, None, :].expand(-1, ASSETS, -1)
        assert (weight_BHNML[:, head][unreadable_BNM] == 0).all()
