"""Screened pairs: leads that are there take the start's weight, nothing else does, and a change of leads is dated.

Axes: R rows, N targets, M sources, L lags, O outputs, H heads.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.planted.markets import LEADS_OF_ONE, PlantedEdge, planted_market, planted_suite_market
from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.lag_bias import LagBiasAttention
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.labels import next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.windows import Windows, fit_scaler
from crossattn_core.training.screening import LeadScreen

LAGS, FIRST = 24, 168


def screen_of(panel: Panel, rows: int | None = None) -> LeadScreen:
    rows = rows or len(panel.as_of_T) - 1
    row_R = np.arange(FIRST, rows)
    windows = Windows(panel, fit_scaler(panel, 0, rows - 1), lookback=FIRST, max_age_hours=96.0)
    label_RNO = next_bar_labels(panel).value_TNH[row_R]
    scaled_RNO = label_RNO / np.nanstd(label_RNO, axis=0)
    return LeadScreen(
        windows, torch.from_numpy(row_R), torch.from_numpy(scaled_RNO), torch.ones(len(row_R)), torch.ones(1).long(), LAGS
    )


@pytest.mark.parametrize("shape", ["linear", "squared"])
def test_a_lead_of_one_percent_takes_the_weight_of_its_pair(shape: str) -> None:
    edges = tuple(replace(edge, share=0.01, shape=shape) for edge in LEADS_OF_ONE)
    share_NLM = screen_of(planted_market(8000, edges=edges, seed=3)).start()[0]
    for edge in edges:
        assert share_NLM[edge.follower, edge.lag - 1, edge.leader] > 0.7
    assert share_NLM[[0, 5]].sum(dim=(1, 2)).max() < 0.1, "assets that follow nobody"


def test_where_nothing_leads_no_pair_takes_weight_and_no_change_is_told() -> None:
    screens = [screen_of(planted_market(3000, edges=(), seed=seed)) for seed in range(20)]
    share_SN = torch.stack([screen.start()[0].sum(dim=(1, 2)) for screen in screens])
    assert float((share_SN > 0.4).float().mean()) <= 0.02
    assert sum(int((screen.changed_since() > 0).sum()) for screen in screens) <= 2, "of 120 targets"


def test_leads_that_stay_show_no_change() -> None:
    for seed in range(3):
        assert not screen_of(planted_market(6000, seed=seed)).changed_since().any()


def test_a_switch_of_leaders_is_dated_for_its_followers_alone_from_six_weeks_after() -> None:
    for seed in range(3):
        panel = planted_suite_market("switching leader", seed, bars=6000).panel
        since_N = screen_of(panel, 3000 + 42 * 24).changed_since()
        assert (since_N[1:5] > 0).sum() >= 3
        assert ((since_N[1:5] == 0) | ((since_N[1:5] - 3000).abs() <= 14 * 24)).all()
        assert since_N[0] == since_N[5] == 0


def test_permuting_assets_permutes_what_is_told() -> None:
    order_N = np.array([3, 0, 5, 1, 4, 2])
    panel = planted_suite_market("switching leader", 0, bars=5000).panel
    moved = replace(
        panel,
        feature_TNF=panel.feature_TNF[:, order_N],
        trade_price_TN=panel.trade_price_TN[:, order_N],
        mark_price_TN=panel.mark_price_TN[:, order_N],
    )
    screen, other = screen_of(panel), screen_of(moved)
    torch.testing.assert_close(other.start()[0], screen.start()[0][order_N][:, :, order_N], rtol=1e-3, atol=1e-4)
    assert other.changed_since().tolist() == screen.changed_since()[order_N].tolist()


def test_an_asset_that_was_silent_takes_no_weight_and_a_target_never_reads_itself() -> None:
    panel = planted_market(4000, edges=(PlantedEdge(0, 1, 2), PlantedEdge(2, 3, 1)), seed=1)
    fresh_TN = panel.is_fresh_TN.copy()
    fresh_TN[:, 0] = False
    screen = screen_of(replace(panel, is_fresh_TN=fresh_TN))
    share_NLM = screen.start()[0]
    assert share_NLM[:, :, 0].abs().max() == 0
    assert share_NLM[torch.arange(6), :, torch.arange(6)].abs().max() == 0
    assert share_NLM[3, 0, 2] > 0.7


def test_the_start_is_the_screened_share_and_even_weights_for_the_rest() -> None:
    attention = LagBiasAttention(NetworkShape(4, 3, 1, (0,) * 4, (0,) * 4), ModelSettings(heads=2, width=16, max_lag=8))
    share_HNLM = torch.zeros(2, 4, 8, 4)
    share_HNLM[:, 1, 2, 0], share_HNLM[:, 1, 5, 3] = 0.5, 0.25
    attention.start_from(share_HNLM, learned=False)
    weight_HNLM = (attention.logit_HNLM + attention.start_1NLM).flatten(2).softmax(dim=-1).view_as(share_HNLM)
    expected_NLM = torch.where(torch.eye(4, dtype=torch.bool)[:, None, :], 0.0, 1 / 24).expand(4, 8, 4).clone()
    expected_NLM[1] = expected_NLM[1] * 0.25
    expected_NLM[1, 2, 0] += 0.5
    expected_NLM[1, 5, 3] += 0.25
    torch.testing.assert_close(weight_HNLM[0], expected_NLM)
    torch.testing.assert_close(attention.gain_HN, (weight_HNLM.detach() ** 2).sum(dim=(2, 3)).rsqrt())


def test_learned_logits_start_anew_only_where_a_told_pair_has_hardly_any_weight() -> None:
    attention = LagBiasAttention(NetworkShape(4, 3, 1, (0,) * 4, (0,) * 4), ModelSettings(heads=2, width=16, max_lag=8))
    with torch.no_grad():
        attention.logit_HNLM[:, 1, 2, 0] = 6.0
        attention.logit_HNLM[:, 2, 2, 0] = 6.0
    before_HNLM = attention.logit_HNLM.detach().clone()
    share_HNLM = torch.zeros(2, 4, 8, 4)
    share_HNLM[:, 1, 2, 0] = 0.8  # as learned
    share_HNLM[:, 2, 4, 3] = 0.8  # another leader
    share_HNLM[:, 3, 4, 0] = 0.2  # not told
    attention.start_from(share_HNLM, learned=True)
    moved_N = (attention.logit_HNLM != before_HNLM).any(dim=3).any(dim=2).any(dim=0)
    assert moved_N.tolist() == [False, False, True, False]
    assert int((attention.logit_HNLM + attention.start_1NLM)[0, 2].argmax()) == 4 * 4 + 3
