"""The network: both parts add up, and no asset's place in the list matters."""

import pytest
import torch

from benchmarks.planted.markets import planted_market
from crossattn_core.experiment import ModelSettings
from crossattn_core.model.network import CrossAssetNetwork, build_network, heads_by_output, own_part_at
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.windows import RecentBars, Windows, fit_scaler

ASSETS, CHANNELS = 4, 3
SETTINGS = ModelSettings(lookback=16, patch=4, max_lag=5, width=16, heads=8, layers=1, value_width=2)


def network_and_bars() -> tuple[CrossAssetNetwork, torch.Tensor, RecentBars]:
    network = build_network(NetworkShape(ASSETS, CHANNELS, outputs=3), SETTINGS, torch.Generator().manual_seed(0)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    bar_TNC = torch.randn(30, ASSETS, CHANNELS, generator=generator)
    bar_TNC[..., -1] = 1.0
    row_B = torch.tensor([20, 21, 29])
    bar_U, place_BL = torch.unique(row_B[:, None] - torch.arange(5), return_inverse=True)
    recent = RecentBars(bar_TNC[bar_U], place_BL, torch.ones(3, ASSETS, dtype=torch.bool))
    return network, bar_TNC[row_B[:, None] + torch.arange(-15, 1)], recent


def test_permuting_assets_with_their_parameters_permutes_the_forecasts() -> None:
    network, window_BLNC, recent = network_and_bars()
    order = torch.tensor([3, 1, 0, 2])
    before = network(window_BLNC, recent)
    weights = network.state_dict()
    for name in ("temporal.identity_ND", "bar_token.identity_ND", "cross_readout_NOHK"):
        weights[name] = weights[name][order]
    weights["cross.logit_HNLM"] = weights["cross.logit_HNLM"][:, order][:, :, :, order]
    network.load_state_dict(weights)
    after = network(window_BLNC[:, :, order], RecentBars(recent.bar_UNC[:, order], recent.place_BL, recent.readable_BN[:, order]))
    torch.testing.assert_close(after.forecast_BNO, before.forecast_BNO[:, order])
    torch.testing.assert_close(after.weight_BHNML, before.weight_BHNML[:, :, order][:, :, :, order])


def test_a_rewritten_bar_moves_only_rows_whose_window_holds_it() -> None:
    network, window_BLNC, recent = network_and_bars()
    rewritten_BLNC, rewritten_UNC = window_BLNC.clone(), recent.bar_UNC.clone()
    rewritten_BLNC[2, -1] += 1.0
    rewritten_UNC[recent.place_BL[2, 0]] += 1.0
    before_BNO = network(window_BLNC, recent).forecast_BNO
    after_BNO = network(rewritten_BLNC, RecentBars(rewritten_UNC, recent.place_BL, recent.readable_BN)).forecast_BNO
    torch.testing.assert_close(after_BNO[:2], before_BNO[:2], rtol=0, atol=0)
    assert not torch.equal(after_BNO[2], before_BNO[2])


def test_windows_of_many_assets_go_a_few_rows_at_a_time_with_the_same_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    network, _, _ = network_and_bars()
    panel = planted_market(400, ASSETS, (), seed=3)
    channels = len(panel.features) + 1
    network = build_network(NetworkShape(ASSETS, channels, outputs=3), SETTINGS, torch.Generator().manual_seed(0)).eval()
    windows = Windows(panel, fit_scaler(panel, 0, 300), lookback=SETTINGS.lookback, max_age_hours=96)
    row_B = torch.arange(300, 335)
    calls: list[int] = []
    whole_BNO = own_part_at(network, windows, row_B)
    own_part = network.own_part
    monkeypatch.setattr(network, "own_part", lambda bar_BLNC: calls.append(len(bar_BLNC)) or own_part(bar_BLNC))
    monkeypatch.setattr("crossattn_core.model.network._WINDOWS", 8 * ASSETS)
    torch.testing.assert_close(own_part_at(network, windows, row_B), whole_BNO)
    assert calls == [8, 8, 8, 8, 3]


def test_heads_of_one_output_start_as_mirrors_of_each_other() -> None:
    network = build_network(NetworkShape(ASSETS, CHANNELS, outputs=3), SETTINGS, torch.Generator().manual_seed(0))
    readout_NOHK = network.cross_readout_NOHK
    for first, second in ((0, 3), (1, 4), (2, 5)):
        torch.testing.assert_close(readout_NOHK[:, :, first], -readout_NOHK[:, :, second])


def test_every_head_feeds_one_output_or_all_of_them() -> None:
    assert heads_by_output(3, 8).sum(dim=0).tolist() == [1.0] * 8
    assert heads_by_output(3, 2).tolist() == [[1.0, 1.0]] * 3


def test_the_same_seed_builds_the_same_network_whatever_torchs_own_seed() -> None:
    torch.manual_seed(1)
    first = build_network(NetworkShape(ASSETS, CHANNELS, outputs=3), SETTINGS, torch.Generator().manual_seed(9))
    torch.manual_seed(2)
    second = build_network(NetworkShape(ASSETS, CHANNELS, outputs=3), SETTINGS, torch.Generator().manual_seed(9))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
