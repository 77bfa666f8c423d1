"""Candidates of large universes: tests are those of the dense screen; held-out rows add no pair that chance could pass.

Axes: R rows, N targets, M sources, L lags, X chosen pairs, O outputs.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.planted.markets import planted_suite_market, wide_market
from crossattn_core.panel.labels import next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.windows import Windows, fit_scaler
from crossattn_core.training.pair_screening import PairScreen
from crossattn_core.training.screening import LeadScreen

LAGS, FIRST, PAIRS = 12, 168, 20


def screens_of(panel: Panel, *, held_out: int = 300, kept_NX: torch.Tensor | None = None) -> tuple[LeadScreen, PairScreen]:
    row_R = np.arange(FIRST, len(panel.as_of_T) - 1)
    windows = Windows(panel, fit_scaler(panel, 0, len(panel.as_of_T) - held_out - 2), lookback=FIRST, max_age_hours=96.0)
    label_RN1 = next_bar_labels(panel).value_TNH[row_R]
    target_RNO = torch.from_numpy(np.repeat(label_RN1 / np.nanstd(label_RN1[:-held_out], axis=0), 2, axis=2))
    train_RNO = target_RNO.clone()
    train_RNO[-held_out:] = torch.nan
    screen = LeadScreen(windows, torch.from_numpy(row_R), target_RNO, torch.ones(len(row_R)), torch.tensor([1, 24]), LAGS)
    return screen, PairScreen.of(screen, train_RNO, PAIRS, kept_NX)


def pair_sets(screen: PairScreen) -> list[set[int]]:
    return [set(pairs.tolist()) for pairs in screen.pair_NX.gather(1, screen.chosen(PAIRS))]


@pytest.fixture(scope="module")
def switching() -> tuple[LeadScreen, PairScreen]:
    return screens_of(planted_suite_market("switching leader", 0, bars=4200).panel)


def test_tests_and_the_day_of_a_change_are_those_of_every_pair(switching: tuple[LeadScreen, PairScreen]) -> None:
    screen, pairs = switching
    source_NX, lag_NX = pairs.pair_NX // LAGS, pairs.pair_NX % LAGS
    for output in (0, 1):
        every_NLMC = screen._z(output, 0).unflatten(1, (LAGS, -1))
        expected_NXC = every_NLMC[torch.arange(6)[:, None], lag_NX, source_NX]
        torch.testing.assert_close(pairs._z(output, 0), expected_NXC, rtol=1e-4, atol=1e-4)
    assert screen.changed_since().any()
    assert pairs.changed_since().tolist() == screen.changed_since().tolist()
    share_NX = pairs.start_ONX()[0]
    expected_NX = screen.start()[0][torch.arange(6)[:, None], lag_NX, source_NX]
    torch.testing.assert_close(share_NX, expected_NX, rtol=0, atol=0.02)


def test_no_pair_is_an_assets_own_past_and_none_comes_twice(switching: tuple[LeadScreen, PairScreen]) -> None:
    pair_NX = switching[1].pair_NX
    assert (pair_NX // LAGS != torch.arange(6)[:, None]).all()
    assert (pair_NX.diff(dim=1) > 0).all()
    assert switching[1].chosen(PAIRS).shape == (6, PAIRS)


def test_a_lead_is_a_candidate_and_a_lead_of_the_newest_rows_alone_is_one_too() -> None:
    market = wide_market(3000, 15, seed=2)
    held = pair_sets(screens_of(market.panel)[1])
    assert all(edge.leader * LAGS + edge.lag - 1 in held[edge.follower] for edge in market.edges)
    panel = planted_suite_market("switching leader", 1, bars=6000).panel.until(3000 + 700)
    held = pair_sets(screens_of(panel, held_out=600)[1])
    found = sum(5 * LAGS + lag - 1 in held[follower] for follower, lag in ((1, 1), (2, 3), (3, 6), (4, 12)))
    assert found >= 3, "the new leader, of which training rows hold four days"


def test_held_out_rows_choose_no_pair_that_could_be_chance() -> None:
    panel, held_out = wide_market(2500, 12, share=0.0, seed=3).panel, 300
    price_TN, feature_TNF = panel.trade_price_TN.copy(), panel.feature_TNF.copy()
    rng = np.random.default_rng(1)
    first = len(price_TN) - held_out
    price_TN[first:] *= np.exp(0.005 * rng.standard_normal((held_out, 12)).cumsum(axis=0))
    feature_TNF[first:] = rng.permutation(feature_TNF[first:], axis=0)
    other = replace(panel, trade_price_TN=price_TN, mark_price_TN=price_TN, feature_TNF=feature_TNF)
    ours, theirs = (pair_sets(screens_of(each, held_out=held_out)[1]) for each in (panel, other))
    same = sum(len(one & another) for one, another in zip(ours, theirs, strict=True))
    # Centring and scaling read all rows known, so a last place may change hands.
    assert same >= 0.97 * 12 * PAIRS


def test_pairs_that_were_kept_are_tested_and_chosen() -> None:
    panel = wide_market(2500, 12, share=0.0, seed=3).panel
    free = screens_of(panel)[1]
    kept_NX = torch.full((12, 3), -1)
    for n in range(12):
        unwanted = set(range(12 * LAGS)) - set(free.pair_NX[n].tolist()) - set(range(n * LAGS, (n + 1) * LAGS))
        kept_NX[n, :2] = torch.tensor(sorted(unwanted)[:2])
    held = pair_sets(screens_of(panel, kept_NX=kept_NX)[1])
    assert all(set(kept[:2].tolist()) <= pairs for kept, pairs in zip(kept_NX, held, strict=True))


def test_permuting_assets_permutes_the_candidates() -> None:
    order_N = np.array([3, 0, 5, 1, 4, 2])
    panel = planted_suite_market("switching leader", 0, bars=3000).panel
    moved = replace(
        panel,
        feature_TNF=panel.feature_TNF[:, order_N],
        trade_price_TN=panel.trade_price_TN[:, order_N],
        mark_price_TN=panel.mark_price_TN[:, order_N],
    )
    ours, theirs = (pair_sets(screens_of(each)[1]) for each in (panel, moved))
    back = [{int(order_N[s // LAGS]) * LAGS + s % LAGS for s in pairs} for pairs in theirs]
    assert back == [ours[n] for n in order_N]
