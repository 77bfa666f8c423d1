"""Fits over candidate pairs: no future, same bits, back from disk, warm starts; few pairs a target still find the leaders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.planted.markets import planted_experiment, planted_market, wide_market
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.families.registry import fit_model, load_model
from crossattn_core.model.attention.candidate_pairs import CandidatePairAttention
from crossattn_core.panel.panel import Panel

CUT_OFF, BARS, PAIRS, LAGS = 700, 900, 6, 8
KINDS = {"lag_bias": {}, "sparse": {"cross_attention": "sparse", "top_sources": 2}}


def small(**knobs: object) -> dict[str, dict[str, object]]:
    model = {"lookback": 24, "patch": 8, "max_lag": LAGS, "width": 16, "heads": 4, "layers": 1, "candidate_pairs": PAIRS}
    return {
        "model": {**model, **knobs},
        "training": {"epochs": 2, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8},
    }


@pytest.fixture(scope="module")
def panel() -> Panel:
    return planted_market(bars=BARS, assets=5, seed=3)


def fit(panel: Panel, *, warm_from: FittedNetwork | None = None, cut_off: int = CUT_OFF, **knobs: object) -> FittedNetwork:
    request = FitRequest(panel, cut_off, np.ones(len(panel.as_of_T), np.float32), seed=5, warm_from=warm_from)
    model = fit_model("attention", request, planted_experiment(panel, small(**knobs)))
    assert isinstance(model, FittedNetwork)
    return model


def pairs_of(model: FittedNetwork) -> torch.Tensor:
    assert isinstance(model.network.cross, CandidatePairAttention)
    return model.network.cross.pair_NK


def rewritten_after(panel: Panel, row: int) -> Panel:
    rng = np.random.default_rng(0)
    feature_TNF, price_TN = panel.feature_TNF.copy(), panel.trade_price_TN.copy()
    feature_TNF[row + 1 :] = rng.standard_normal(feature_TNF[row + 1 :].shape)
    price_TN[row + 1 :] *= np.exp(rng.standard_normal(price_TN[row + 1 :].shape))
    return replace(panel, feature_TNF=feature_TNF, trade_price_TN=price_TN, mark_price_TN=price_TN)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_has_the_same_bits_twice_and_after_the_future_is_rewritten(kind: str, panel: Panel) -> None:
    model = fit(panel, **KINDS[kind])
    for other in (fit(panel, **KINDS[kind]), fit(rewritten_after(panel, CUT_OFF), **KINDS[kind])):
        assert other.model_id == model.model_id
        assert torch.equal(pairs_of(other), pairs_of(model))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_back_from_disk_with_its_pairs_and_reads_no_later_bar(kind: str, panel: Panel, tmp_path) -> None:
    model, rows = fit(panel, **KINDS[kind]), np.arange(720, 740)
    loaded = load_model(model.save(tmp_path / "model"), planted_experiment(panel, small(**KINDS[kind])))
    assert isinstance(loaded, FittedNetwork)
    assert torch.equal(pairs_of(loaded), pairs_of(model))
    np.testing.assert_array_equal(loaded.forecast(panel, rows), model.forecast(panel, rows))
    np.testing.assert_array_equal(model.forecast(rewritten_after(panel, 730), rows)[:11], model.forecast(panel, rows)[:11])


def test_a_fit_without_screened_starts_still_reads_screened_pairs(panel: Panel) -> None:
    knobs = small()
    request = FitRequest(panel, CUT_OFF, np.ones(BARS, np.float32), seed=5)
    experiment = planted_experiment(panel, {**knobs, "training": {**knobs["training"], "screening": False}})
    model = fit_model("attention", request, experiment)
    assert isinstance(model, FittedNetwork)
    assert torch.equal(pairs_of(model), pairs_of(fit(panel)))


def test_a_warm_start_keeps_the_pairs_that_hold_weight(panel: Panel) -> None:
    first = fit(panel)
    kept_NK = first.network.cross.strongest_pairs()
    warm = fit(panel, warm_from=first, cut_off=CUT_OFF + 100)
    held_N = [set(pairs.tolist()) for pairs in pairs_of(warm)]
    kept_N = [{s for s in pairs.tolist() if s >= 0} for pairs in kept_NK]
    assert any(kept_N)
    assert all(kept <= held for kept, held in zip(kept_N, held_N, strict=True))
    assert all(len(held) == PAIRS for held in held_N)


def test_few_pairs_of_a_wide_market_find_its_leaders() -> None:
    market, cut_off = wide_market(2500, 40, seed=1), 2000
    knobs = small(max_lag=12, candidate_pairs=12, lookback=24)
    experiment = planted_experiment(market.panel, {**knobs, "training": {"epochs": 3, "minimum_batches": 15}})
    model = fit_model("attention", FitRequest(market.panel, cut_off, np.ones(2500, np.float32), seed=5), experiment)
    assert isinstance(model, FittedNetwork)
    rows = np.arange(cut_off + 1, 2400)
    weights = model.attention(market.panel, rows[:1])
    assert weights is not None
    strength_NML = weights.heads_serving("next_bar").mean(axis=(0, 1))
    assert (strength_NML > 0).sum(axis=(1, 2)).max() <= 12
    best_N = strength_NML.reshape(40, -1).argmax(axis=1)
    found = sum(divmod(int(best_N[edge.follower]), 12) == (edge.leader, edge.lag - 1) for edge in market.edges)
    assert found >= 0.9 * len(market.edges)
