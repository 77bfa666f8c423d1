"""Snapshots and occlusion of a model over candidate pairs are those of the same weights spelled out, which are never made."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.analysis import attention_means, snapshot
from crossattn_core.analysis.attribution import occlusion_view
from crossattn_core.analysis.snapshot import Snapshot, snapshot_of_rows
from crossattn_core.families import fitted_network
from crossattn_core.families.ensemble import FittedEnsemble
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.panel import Panel

ASSETS, BARS, CUT_OFF, PAIRS, LAGS, DAY = 6, 1000, 800, 7, 8, date(2024, 1, 1)
ROWS = np.arange(860, 980, 5)


def fitted(panel: Panel, **knobs: object) -> FittedNetwork:
    model = {"lookback": 24, "patch": 8, "max_lag": LAGS, "width": 16, "heads": 4, "layers": 1, "candidate_pairs": PAIRS}
    training = {"epochs": 1, "minimum_batches": 1, "batch_size": 64, "contiguous_rows": 8}
    experiment = planted_experiment(panel, {"model": model | knobs, "training": training})
    model = fit_model("attention", FitRequest(panel, CUT_OFF, np.ones(BARS, np.float32), seed=5), experiment)
    assert isinstance(model, FittedNetwork)
    return model


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Asset 2 is unreadable in some rows, asset 1 in some rows' other history."""
    whole = planted_market(bars=BARS, assets=ASSETS, seed=3)
    age_TN = np.array(whole.age_hours_TN)
    age_TN[ROWS[4] : ROWS[9], 2] = age_TN[ROWS[10] - 168 : ROWS[12] - 168, 1] = 1e6
    return replace(whole, age_hours_TN=age_TN)


@pytest.fixture(scope="module", params=[{}, {"cross_attention": "sparse", "top_sources": 2}, {"content": True}], ids=str)
def model(panel: Panel, request: pytest.FixtureRequest) -> FittedNetwork:
    return fitted(panel, **request.param)


@pytest.fixture(scope="module")
def ensemble(panel: Panel) -> FittedEnsemble:
    """Of two members whose pairs differ, by target too."""
    first, second = fitted(panel), fitted(panel)
    pair_NK = second.network.cross.pair_NK.clone()
    own_NS = torch.arange(ASSETS * LAGS) // LAGS == torch.arange(ASSETS)[:, None]
    other_NS = torch.rand(own_NS.shape, generator=torch.Generator().manual_seed(1)).masked_fill(own_NS, -1.0)
    pair_NK[1:] = other_NS.topk(PAIRS, dim=1).indices[1:]
    second.network.cross.read_pairs(pair_NK)
    return FittedEnsemble((first, second), {"family": "attention", "model_id": "two"})


def spelled_out(model: FittedModel, panel: Panel, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    with monkeypatch.context() as patched:
        patched.setattr(model, "candidate_attention", lambda *_: None)
        return snapshot_of_rows(model, panel, rows, DAY)


def assert_same(found: Snapshot, expected: Snapshot) -> None:
    np.testing.assert_allclose(found.weight_NML, expected.weight_NML, rtol=1e-6)
    np.testing.assert_allclose(found.entropy_H, expected.entropy_H, rtol=1e-9)
    assert (found.asset_ids, found.lead_bars_L.tolist()) == (expected.asset_ids, expected.lead_bars_L.tolist())
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), rtol=1e-5)


@pytest.mark.parametrize("rows", [ROWS, ROWS[4:9], ROWS[:0]], ids=["some unreadable", "all unreadable", "no rows"])
@pytest.mark.parametrize("stored_sources", [64, 2])
def test_a_snapshot_of_candidates_is_that_of_every_pair(
    model: FittedNetwork, panel: Panel, rows: np.ndarray, stored_sources: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "STORED_SOURCES", stored_sources)
    expected = spelled_out(model, panel, rows, monkeypatch)
    monkeypatch.setattr(model, "attention", None)  # never asked
    assert_same(snapshot_of_rows(model, panel, rows, DAY), expected)


def test_a_snapshot_of_candidates_is_the_same_a_few_rows_at_a_time(
    model: FittedNetwork, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rows in (ROWS, ROWS[-5:]):
        at_once = snapshot_of_rows(model, panel, rows, DAY)
        for name in ("_MAX_WEIGHTS", "_MAX_ASKED"):
            with monkeypatch.context() as patched:
                patched.setattr(attention_means, name, 1)
                assert_same(snapshot_of_rows(model, panel, rows, DAY), at_once)


@pytest.mark.parametrize("rows", [ROWS, ROWS[-5:], ROWS[:0]], ids=["some unreadable", "all readable", "no rows"])
def test_an_ensemble_reads_the_pairs_of_all_members(
    ensemble: FittedEnsemble, panel: Panel, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates, whole = ensemble.candidate_attention(panel, rows), ensemble.attention(panel, rows)
    assert candidates is not None
    assert whole is not None
    assert candidates.source_NK.shape[1] > PAIRS
    for row_HNK, row_HNML in zip(candidates.weight_RHNK, whole.weight_RHNML, strict=True):
        for weight_NK, weight_NML in zip(row_HNK, row_HNML, strict=True):
            np.testing.assert_array_equal(candidates.over_every_pair(weight_NK), weight_NML)
    assert_same(snapshot_of_rows(ensemble, panel, rows, DAY), spelled_out(ensemble, panel, rows, monkeypatch))


def test_an_ensemble_with_a_member_over_every_pair_has_no_candidates(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    members = fitted(panel), fitted(panel, candidate_pairs="all")
    mixed = FittedEnsemble(members, {"family": "attention", "model_id": "mixed"})
    assert mixed.candidate_attention(panel, ROWS) is None
    assert_same(snapshot_of_rows(mixed, panel, ROWS, DAY), spelled_out(mixed, panel, ROWS, monkeypatch))


def test_what_a_source_is_worth_to_candidates_is_that_of_whole_passes(
    model: FittedNetwork, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_NM = occlusion_view(model, panel, ROWS, seasons=(1,))
    monkeypatch.setattr(fitted_network, "_WHOLE_PASSES", 0)
    passes = []
    whole_pass = type(model.network).cross_part_of
    monkeypatch.setattr(type(model.network), "cross_part_of", lambda *given: passes.append(1) or whole_pass(*given))
    np.testing.assert_allclose(occlusion_view(model, panel, ROWS, seasons=(1,)), whole_NM, rtol=1e-3, atol=1e-5)
    # As it is, and one for each source whose readability differs; with content one for each source.
    assert len(passes) - 1 <= 1 + (ASSETS if model.experiment.model.content else 2)


def test_a_receipts_hash_is_of_the_model_and_its_weights(model: FittedNetwork, panel: Panel) -> None:
    taken = snapshot_of_rows(model, panel, ROWS, DAY)
    assert taken.content_hash == snapshot_of_rows(model, panel, ROWS, date(2024, 1, 2)).content_hash
    weight_NML = taken.weight_NML.copy()
    weight_NML[0, 1, 2] += 1e-6
    others = replace(taken, weight_NML=weight_NML), replace(taken, model_id="another")
    assert len({taken.content_hash, *(other.content_hash for other in others)}) == 3
    # Layout in memory is no content.
    assert replace(taken, weight_NML=np.asfortranarray(taken.weight_NML)).content_hash == taken.content_hash
