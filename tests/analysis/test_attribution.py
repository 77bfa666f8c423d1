"""Three views of one trained model find the planted leader and agree on it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.analysis import attention_means, snapshot
from crossattn_core.analysis.attribution import agreement, attribution, gradient_view, occlusion_view, with_other_history
from crossattn_core.errors import HistoryError
from crossattn_core.families import fitted_network
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model
from tests.walk_forward.fakes import rolling_experiment, synthetic_panel

LEADS = ((0, 1, 2, 0.8), (0, 2, 4, 0.8), (0, 3, 1, 0.8))


@pytest.fixture(scope="module")
def trained():
    panel = synthetic_panel(150, leads=LEADS)
    experiment = rolling_experiment()
    training = experiment.training.model_copy(update={"epochs": 8, "learning_rate": 3e-3})
    experiment = experiment.model_copy(update={"training": training})
    cut_off = 120 * 24 - 1
    request = FitRequest(panel.until(cut_off + 1), cut_off, np.ones(cut_off + 1, dtype=np.float32), seed=1)
    return fit_model("attention", request, experiment), fit_model("ridge_var", request, experiment), panel


ROWS = np.arange(121 * 24, 150 * 24, 29)


def test_all_views_put_the_leader_first_for_its_followers(trained) -> None:
    model, _, panel = trained
    views = attribution(model, panel, ROWS)
    for view, share_NM in views.share_by_view_NM.items():
        np.testing.assert_allclose(share_NM.sum(axis=1), 1.0, err_msg=view)
        assert (share_NM[1:].argmax(axis=1) == 0).all(), view


def test_the_gradient_peaks_at_the_planted_lag(trained) -> None:
    model, _, panel = trained
    gradient_NML = gradient_view(model, panel, ROWS)
    for _, follower, lag, _ in LEADS:
        assert gradient_NML[follower, 0].argmax() == lag - 1  # lag index l leads the next bar by l + 1 hours


def test_the_views_agree_on_a_planted_market(trained) -> None:
    model, _, panel = trained
    table = agreement(attribution(model, panel, ROWS).share_by_view_NM)
    assert len(table) == 3
    assert (table["rank_correlation"] > 0.3).all()


def test_a_model_without_cross_attention_has_no_attribution(trained) -> None:
    _, ridge, panel = trained
    assert attribution(ridge, panel, ROWS) is None


def test_occlusion_serves_any_family(trained) -> None:
    _, ridge, panel = trained
    moved_NM = occlusion_view(ridge, panel, ROWS)
    assert (moved_NM[1:].argmax(axis=1) == 0).all()


def test_another_history_keeps_the_other_assets_and_the_first_weeks(trained) -> None:
    panel = trained[2]
    changed = with_other_history(panel, 2, 336)
    others = [0, 1, 3]
    for name in ("feature_TNF", "trade_price_TN", "mark_price_TN", "is_fresh_TN", "age_hours_TN"):
        np.testing.assert_array_equal(getattr(changed, name)[:, others], getattr(panel, name)[:, others])
        np.testing.assert_array_equal(getattr(changed, name)[:336], getattr(panel, name)[:336])
    np.testing.assert_array_equal(changed.feature_TNF[336:, 2], panel.feature_TNF[:-336, 2])
    now, then = (np.diff(np.log(mark_TN[:, 2])) for mark_TN in (changed.mark_price_TN, panel.mark_price_TN))
    np.testing.assert_allclose(now[336:], then[:-336], atol=1e-12)
    np.testing.assert_array_equal(np.isfinite(changed.trade_price_TN[:, 2]), changed.is_fresh_TN[:, 2])


def test_too_short_a_history_is_refused(trained) -> None:
    with pytest.raises(HistoryError, match="take fewer seasons"):
        with_other_history(trained[2].until(200), 0, 336)


def test_agreement_knows_equal_and_reversed_orders() -> None:
    value_NM = np.random.default_rng(0).random((5, 5))
    table = agreement({"a": value_NM, "b": value_NM * 3, "c": -value_NM})
    assert table["rank_correlation"].tolist() == pytest.approx([1.0, -1.0, -1.0])
    assert table["within_target"].tolist() == pytest.approx([1.0, -1.0, -1.0])


def test_what_a_source_is_worth_is_the_same_without_copying_the_panel(trained) -> None:
    model, _, panel = trained
    rows, shift = ROWS, 4 * panel.grid.season_bars
    known = panel.until(int(rows.max()) + 1)
    for m, found_RN in enumerate(model.next_bar_without_each(known, rows, shift)):
        others = [n for n in range(4) if n != m]
        expected_RN = model.forecast_next_bar(with_other_history(known, m, shift), rows)
        np.testing.assert_array_equal(found_RN[:, others], expected_RN[:, others])


@pytest.mark.parametrize("own_branch", ["gru", "itransformer", "attention"])
def test_a_source_that_own_parts_read_is_worth_what_another_history_of_it_moves(own_branch: str) -> None:
    panel = planted_market(bars=900, assets=4, seed=3)
    knobs = {"lookback": 24, "patch": 8, "max_lag": 8, "width": 8, "heads": 4, "layers": 1, "own_branch": own_branch}
    experiment = planted_experiment(panel, {"model": knobs, "training": {"epochs": 1, "minimum_batches": 20}})
    model = fit_model("attention", FitRequest(panel, 700, np.ones(900, np.float32), seed=1), experiment)
    rows, shift = np.arange(860, 900, 10), 4 * panel.grid.season_bars
    moved_NM = occlusion_view(model, panel, rows, seasons=(4,))
    plain_RN = model.forecast_next_bar(panel, rows).astype(np.float64)
    for m in range(4):
        other_RN = model.forecast_next_bar(with_other_history(panel, m, shift), rows)
        expected_N = np.sqrt(((other_RN - plain_RN) ** 2).mean(axis=0) / (plain_RN**2).mean(axis=0))
        others = [n for n in range(4) if n != m]
        np.testing.assert_allclose(moved_NM[others, m], expected_N[others], rtol=1e-3)


@pytest.mark.parametrize("silent", [False, True])
def test_what_a_source_of_many_is_worth_is_what_it_says_itself(trained, silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, panel = trained
    if silent:
        # Asset 2 is unreadable in some rows, asset 1 in some rows' other history.
        age_TN, then = np.array(panel.age_hours_TN), ROWS - 4 * panel.grid.season_bars
        age_TN[ROWS[4] : ROWS[6], 2] = age_TN[then[10] : then[12], 1] = 1e6
        panel = replace(panel, age_hours_TN=age_TN)
    whole_NM = occlusion_view(model, panel, ROWS)
    monkeypatch.setattr(fitted_network, "_WHOLE_PASSES", 0)
    passes = []
    whole_pass = type(model.network).cross_part_of
    monkeypatch.setattr(type(model.network), "cross_part_of", lambda *given: passes.append(1) or whole_pass(*given))
    found_NM = occlusion_view(model, panel, ROWS)
    np.testing.assert_allclose(found_NM, whole_NM, rtol=1e-3, atol=1e-5)
    assert len(passes) <= (7 if silent else 3)  # as it is, one a season, and one for each source whose readability differs


def test_attention_of_rows_a_few_at_a_time_is_that_of_all_of_them(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, panel = trained
    day = panel.as_of_T[-1].astype("datetime64[D]").item()
    age_TN = np.array(panel.age_hours_TN)
    age_TN[ROWS[10] : ROWS[15], 2] = 1e6
    for given in (panel, replace(panel, age_hours_TN=age_TN)):
        at_once = snapshot.snapshot_of_rows(model, given, ROWS, day)
        for name in ("_MAX_WEIGHTS", "_MAX_ASKED"):
            with monkeypatch.context() as patched:
                patched.setattr(attention_means, name, 1)
                one_by_one = snapshot.snapshot_of_rows(model, given, ROWS, day)
            np.testing.assert_allclose(one_by_one.weight_NML, at_once.weight_NML, rtol=1e-6)
            np.testing.assert_allclose(one_by_one.entropy_H, at_once.entropy_H, rtol=1e-12)
