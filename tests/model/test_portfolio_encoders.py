"""The encoders of the literature: who may read whom, whose bars count, and what is the same in another order."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import ModelSettings
from crossattn_core.model.encoders.agent_layers import AgentAttention, AgentLinear, AgentNorm, AgentTransformer
from crossattn_core.model.encoders.base import ENCODERS, Encoder
from crossattn_core.model.encoders.graph_attention import GraphAttention
from crossattn_core.model.encoders.multi_agent import MultiAgentAttention, directional_change
from crossattn_core.model.graph import dependence_graph, distance_correlation, triangulated_filter
from crossattn_core.model.network import build_network
from crossattn_core.model.shape import NetworkShape

ASSETS, CHANNELS, LOOKBACK = 5, 3, 24
MODERN = ("itransformer", "patchtst", "multi_agent", "graph_attention")
APART = ("patchtst",)
"""Of these, those in which assets do not meet."""


def settings(name: str, **knobs: object) -> ModelSettings:
    sizes = {"lookback": LOOKBACK, "patch": 8, "max_lag": 4, "width": 16, "heads": 4, "layers": 2, "cross_attention": "off"}
    return ModelSettings.model_validate({**sizes, "own_branch": name, **knobs})


def encoder_and_bars(name: str) -> tuple[Encoder, torch.Tensor]:
    torch.manual_seed(0)
    encoder = ENCODERS.get(name)(NetworkShape(ASSETS, CHANNELS, outputs=1), settings(name)).eval()
    bar_BNLC = torch.randn(6, ASSETS, LOOKBACK, CHANNELS)
    bar_BNLC[..., -1] = 1.0
    return encoder, bar_BNLC


@pytest.mark.parametrize("name", MODERN)
def test_gradients_reach_every_parameter(name: str) -> None:
    shape = NetworkShape(ASSETS, CHANNELS, outputs=2)
    network = build_network(shape, settings(name), torch.Generator().manual_seed(0))
    encoder, bar_BNLC = network.temporal, encoder_and_bars(name)[1]
    (encoder(bar_BNLC) * torch.randn(6, ASSETS, 16)).sum().backward()
    silent = [each for each, parameter in encoder.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", MODERN)
def test_assets_meet_or_stay_apart_as_the_paper_says(name: str) -> None:
    encoder, bar_BNLC = encoder_and_bars(name)
    rewritten_BNLC = bar_BNLC.clone()
    rewritten_BNLC[:, 0, :, 0] += 3.0 * torch.randn(6, LOOKBACK)
    moved_N = (encoder(rewritten_BNLC) - encoder(bar_BNLC)).abs().amax(dim=(0, 2)) > 1e-5
    assert moved_N[0]
    assert moved_N[1:].any().item() == (name not in APART)


@pytest.mark.parametrize("name", MODERN)
def test_a_row_does_not_hang_on_the_rows_beside_it(name: str) -> None:
    encoder, bar_BNLC = encoder_and_bars(name)
    torch.testing.assert_close(encoder(bar_BNLC[2:3]), encoder(bar_BNLC)[2:3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["itransformer", "patchtst", "graph_attention"])
def test_permuting_assets_permutes_the_summaries(name: str) -> None:
    encoder, bar_BNLC = encoder_and_bars(name)
    order = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(encoder(bar_BNLC[:, order]), encoder(bar_BNLC)[:, order], rtol=1e-4, atol=1e-5)


def test_an_asset_that_is_silent_in_the_whole_window_is_read_by_none_in_itransformer() -> None:
    encoder, bar_BNLC = encoder_and_bars("itransformer")
    bar_BNLC[:, 2] = 0.0
    before_BND = encoder(bar_BNLC)
    with torch.no_grad():
        dict(encoder.named_parameters())["identity_ND"][2] += 5.0
    others = [0, 1, 3, 4]
    torch.testing.assert_close(encoder(bar_BNLC)[:, others], before_BND[:, others])
    assert torch.isfinite(encoder(torch.zeros_like(bar_BNLC))).all()


def test_patches_overlap_and_end_with_the_newest_bar() -> None:
    encoder, bar_BNLC = encoder_and_bars("patchtst")
    seen: list[torch.Tensor] = []
    dict(encoder.named_modules())["embed"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(bar_BNLC)
    [patch_GPE] = seen
    assert patch_GPE.shape[1] == 5  # of 8 bars, every 4 of 24
    patch_GPCX = patch_GPE.unflatten(-1, (CHANNELS, 8))
    torch.testing.assert_close(patch_GPCX[0, -1].T, bar_BNLC[0, 0, -8:])
    torch.testing.assert_close(patch_GPCX[0, -2].T, bar_BNLC[0, 0, -12:-4])


def test_an_asset_reads_its_neighbours_in_the_graph_alone() -> None:
    encoder, bar_BNLC = encoder_and_bars("graph_attention")
    assert isinstance(encoder, GraphAttention)
    encoder.neighbour_NM.copy_(torch.eye(ASSETS, dtype=torch.bool))
    encoder.neighbour_NM[0, 1] = encoder.neighbour_NM[1, 0] = True
    rewritten_BNLC = bar_BNLC.clone()
    rewritten_BNLC[:, 1] += 1.0
    moved_N = (encoder(rewritten_BNLC) != encoder(bar_BNLC)).any(dim=-1).any(dim=0)
    assert moved_N.tolist() == [True, True, False, False, False]


def test_a_graph_layer_is_the_formula_of_graph_attention() -> None:
    encoder, _ = encoder_and_bars("graph_attention")
    layer = dict(encoder.named_modules())["layers.0"]
    token_BND = torch.randn(2, ASSETS, 16)
    neighbour_NM = torch.rand(ASSETS, ASSETS) > 0.5
    neighbour_NM |= neighbour_NM.T | torch.eye(ASSETS, dtype=torch.bool)
    value_BNHK = layer.value(token_BND).unflatten(-1, (4, 4))
    expected_BNHK = torch.zeros_like(value_BNHK)
    for n in range(ASSETS):
        read = neighbour_NM[n].nonzero()[:, 0].tolist()
        logit_BHM = torch.stack(
            [layer.reads(value_BNHK.flatten(2))[:, n] + layer.is_read(value_BNHK.flatten(2))[:, m] for m in read], dim=-1
        )
        weight_BHM = functional.leaky_relu(logit_BHM, 0.2).softmax(dim=-1)
        expected_BNHK[:, n] = torch.einsum("bhm,bmhk->bhk", weight_BHM, value_BNHK[:, read])
    expected_BND = layer.norm(token_BND + functional.elu(expected_BNHK.flatten(2)))
    torch.testing.assert_close(layer(token_BND, neighbour_NM), expected_BND, rtol=1e-5, atol=1e-6)


def test_a_trend_holds_until_the_price_has_come_back_by_the_threshold() -> None:
    return_L = torch.tensor([1.0, 1.0, 1.0, -0.5, -0.5, 1.5, -1.0, -1.5, -1.0, 0.5, 1.0, 1.0])
    change_L2 = directional_change(return_L[None, None], 2.0)[0, 0]
    #        price            1  2  3 2.5  2 3.5 2.5  1  0  .5 1.5 2.5
    assert change_L2[:, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, 1]
    np.testing.assert_allclose(change_L2[2:7, 1], [0.0, -0.25, -0.5, 0.0, -0.5])


def test_a_later_bar_moves_no_trend_before_it() -> None:
    return_BNL = torch.randn(4, ASSETS, LOOKBACK)
    rewritten_BNL = return_BNL.clone()
    rewritten_BNL[..., 15:] = torch.randn(4, ASSETS, LOOKBACK - 15)
    before, after = (directional_change(each, 1.5) for each in (return_BNL, rewritten_BNL))
    torch.testing.assert_close(after[:, :, :15], before[:, :, :15], rtol=0, atol=0)


def test_agents_side_by_side_are_torchs_modules_one_after_another() -> None:
    encoder, bar_BNLC = encoder_and_bars("multi_agent")
    assert isinstance(encoder, MultiAgentAttention)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    views = [bar_BNLC, *(directional_change(bar_BNLC[..., 0], threshold) for threshold in (2.0, 4.0, 8.0))]
    expected_ABND = torch.stack([alone(encoder, view_BNLX, agent) for agent, view_BNLX in enumerate(views)])
    torch.testing.assert_close(encoder(bar_BNLC), expected_ABND.mean(dim=0), rtol=1e-4, atol=1e-5)


def alone(encoder: MultiAgentAttention, view_BNLX: torch.Tensor, agent: int) -> torch.Tensor:
    """(B, N, D) of one agent, as torch's own modules compute it."""
    embed, place = (encoder.embed_bars, 0) if agent == 0 else (encoder.embed_trends, agent - 1)
    patch_BPE = view_BNLX.transpose(1, 2).reshape(len(view_BNLX), LOOKBACK // 8, -1)
    asset_BND = linear(embed.asset_token, place)(view_BNLX.flatten(2)) + embed.identity_AND[place]
    time_BPD = linear(embed.time_token, place)(patch_BPE) + embed.position_APD[place]
    asset_BND, time_BPD = transformer(encoder.over_assets, agent)(asset_BND), transformer(encoder.over_time, agent)(time_BPD)
    read_BND, _ = attention(encoder.reads_time, agent)(asset_BND, time_BPD, time_BPD)
    return norm(encoder.norm, agent)(asset_BND + read_BND)


def linear(of: AgentLinear, agent: int) -> nn.Linear:
    weight_XE = of.weight_AXE[agent]
    found = nn.Linear(*weight_XE.shape)
    found.weight.data, found.bias.data = weight_XE.T.detach(), of.bias_E.view(-1, found.out_features)[agent].detach()
    return found


def norm(of: AgentNorm, agent: int) -> nn.LayerNorm:
    found = nn.LayerNorm(16)
    found.weight.data, found.bias.data = (vector.view(-1, 16)[agent].detach() for vector in (of.weight_D, of.bias_D))
    return found


def attention(of: AgentAttention, agent: int) -> nn.MultiheadAttention:
    found = nn.MultiheadAttention(16, 4, batch_first=True)
    maps = [linear(each, agent) for each in (of.query, of.key, of.value)]
    found.in_proj_weight.data = torch.cat([each.weight for each in maps]).detach()
    found.in_proj_bias.data = torch.cat([each.bias for each in maps]).detach()
    found.out_proj.load_state_dict(linear(of.out, agent).state_dict())
    return found


def transformer(of: AgentTransformer, agent: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    found = nn.TransformerEncoder(layer, 2, nn.LayerNorm(16), enable_nested_tensor=False).eval()
    found.norm.load_state_dict(norm(of.norm, agent).state_dict())
    for theirs, ours in zip(found.layers, of.layers, strict=True):
        theirs.self_attn.load_state_dict(attention(ours.attention, agent).state_dict())
        theirs.linear1.load_state_dict(linear(ours.expand, agent).state_dict())
        theirs.linear2.load_state_dict(linear(ours.contract, agent).state_dict())
        theirs.norm1.load_state_dict(norm(ours.norm_attention, agent).state_dict())
        theirs.norm2.load_state_dict(norm(ours.norm_forward, agent).state_dict())
    return found


def test_trends_without_a_return_among_the_features_are_refused() -> None:
    with pytest.raises(ExperimentError, match="'log_return'"):
        ENCODERS.get("multi_agent")(NetworkShape(ASSETS, CHANNELS, 1, return_channel=None), settings("multi_agent"))


def test_distance_correlation_sees_a_dependence_without_correlation() -> None:
    rng = np.random.default_rng(0)
    x_S = rng.standard_normal(400)
    value_SN = np.stack([x_S, x_S**2, rng.standard_normal(400), -3 * x_S + 1, np.zeros(400)], axis=1)
    found_NM = distance_correlation(value_SN)
    assert abs(np.corrcoef(value_SN[:, 0], value_SN[:, 1])[0, 1]) < 0.2
    assert found_NM[0, 1] > 0.4 > 0.2 > found_NM[0, 2]
    np.testing.assert_allclose(found_NM[0, 3], 1.0)
    assert not found_NM[4].any()


def test_distance_correlation_is_the_mean_over_all_pairs_of_observations() -> None:
    value_SN = np.random.default_rng(1).standard_normal((12, 2))

    def centred(value_S: np.ndarray) -> np.ndarray:
        distance_SS = np.array([[abs(a - b) for b in value_S] for a in value_S])
        return distance_SS - distance_SS.mean(0)[None] - distance_SS.mean(1)[:, None] + distance_SS.mean()

    a_SS, b_SS = centred(value_SN[:, 0]), centred(value_SN[:, 1])
    expected = np.sqrt((a_SS * b_SS).mean() / np.sqrt((a_SS**2).mean() * (b_SS**2).mean()))
    np.testing.assert_allclose(distance_correlation(value_SN)[0, 1], expected)


@pytest.mark.parametrize("assets", [1, 3, 4, 5, 9, 30])
def test_the_filter_keeps_the_edges_of_a_triangulated_planar_graph(assets: int) -> None:
    strength_NM = np.random.default_rng(assets).random((assets, assets))
    edge_NM = triangulated_filter(strength_NM + strength_NM.T)
    np.testing.assert_array_equal(edge_NM, edge_NM.T)
    assert not np.diagonal(edge_NM).any()
    assert edge_NM.sum() // 2 == (3 * assets - 6 if assets >= 3 else 0)


def test_assets_whose_volatilities_move_together_are_neighbours() -> None:
    rng = np.random.default_rng(0)
    group_G = np.repeat(np.arange(3), 4)
    common_TG = np.exp(np.repeat(rng.standard_normal((200, 3)), 24, axis=0))
    return_TN = common_TG[:, group_G] * rng.standard_normal((4800, 12))
    graph_NM = dependence_graph(return_TN)
    assert np.diagonal(graph_NM).all()
    same_NM = group_G[:, None] == group_G
    assert graph_NM[same_NM].all()
    assert graph_NM[~same_NM].mean() < 0.4
