"""The pooled cross-section: characteristics by a plain loop, and a planted cross-sectional effect that it must find."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.planted.markets import panel_of_returns, planted_experiment
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.lightgbm_pooled import characteristics, ranked
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.rank_correlation import rank_correlation

pytest.importorskip("lightgbm")
WINDOWS = (1, 5, 12, 30)
BARS, ASSETS = 2400, 12


def market(strength: float, seed: int = 0) -> Panel:
    """Returns that lean against the asset's own last five bars, in deviations from the mean of all."""
    rng = np.random.default_rng(seed)
    return_TN = rng.normal(0, 0.01, (BARS, ASSETS))
    for t in range(5, BARS):
        past_N = return_TN[t - 5 : t].sum(axis=0)
        return_TN[t] -= strength * (past_N - past_N.mean())
    return panel_of_returns(return_TN, rng)


def fitted_ic(panel: Panel) -> float:
    """Mean rank IC over the cross-section of the next bar's forecasts, on the last 600 bars, fitted before them."""
    experiment = planted_experiment(
        panel, {"baselines": {"characteristic_bars": WINDOWS}, "labels": {"horizons": [1], "trade_horizon": 1}}
    )
    cut_off = BARS - 601
    model = fit_model("lightgbm_pooled", FitRequest(panel, cut_off, np.ones(cut_off + 1, np.float32), seed=3), experiment)
    rows = np.arange(cut_off + 1, BARS - 1)
    forecast_RN = model.forecast_next_bar(panel, rows)
    outcome_RN = np.log(panel.trade_price_TN[rows + 1] / panel.mark_price_TN[rows])
    return float(
        np.nanmean([rank_correlation(forecast, outcome) for forecast, outcome in zip(forecast_RN, outcome_RN, strict=True)])
    )


def test_it_finds_a_reversal_over_the_cross_section_and_nothing_in_noise() -> None:
    assert fitted_ic(market(0.15)) > 0.15
    assert abs(fitted_ic(market(0.0))) < 0.05


def test_characteristics_are_what_a_plain_loop_gives() -> None:
    panel = market(0.1)
    rows = np.array([40, 7, 900])
    found_RNK = characteristics(panel, rows, WINDOWS)
    mark_TN = panel.mark_price_TN
    for r, row in enumerate(rows):
        for n in range(ASSETS):
            for k, window in enumerate(WINDOWS):
                expected = np.log(mark_TN[row, n] / mark_TN[row - window, n]) if row >= window else np.nan
                np.testing.assert_allclose(found_RNK[r, n, k], expected, rtol=1e-9, atol=1e-12)
            skipping = np.log(mark_TN[row - 12, n] / mark_TN[row - 30, n]) if row >= 30 else np.nan
            np.testing.assert_allclose(found_RNK[r, n, len(WINDOWS)], skipping, rtol=1e-9, atol=1e-12)
            bars = np.diff(np.log(mark_TN[row - 12 : row + 1, n])) if row >= 12 else np.array([np.nan])
            np.testing.assert_allclose(found_RNK[r, n, len(WINDOWS) + 1], np.sqrt((bars**2).mean()), rtol=1e-6)


def test_characteristics_read_nothing_behind_their_row() -> None:
    panel, row = market(0.1), 500
    spoilt = {
        name: np.concatenate([array[: row + 1], np.full_like(array[row + 1 :], 7)])
        for name in ("mark_price_TN", "trade_price_TN", "feature_TNF", "quote_volume_TN")
        for array in (np.asarray(getattr(panel, name)),)
    }
    np.testing.assert_array_equal(
        characteristics(replace(panel, **spoilt), np.array([row]), WINDOWS), characteristics(panel, np.array([row]), WINDOWS)
    )


def test_the_same_row_has_the_same_bits_from_any_batch() -> None:
    panel = market(0.1)
    whole_RNK = characteristics(panel, np.arange(100, 800), WINDOWS)
    np.testing.assert_array_equal(characteristics(panel, np.array([650, 130]), WINDOWS), whole_RNK[[550, 30]])


def test_ranks_ignore_the_order_of_assets_and_share_ties() -> None:
    rng = np.random.default_rng(1)
    value_RNK: NDArray[np.float64] = rng.integers(0, 4, (6, 9, 3)).astype(float)
    readable_RN = rng.random((6, 9)) < 0.8
    order = rng.permutation(9)
    np.testing.assert_array_equal(ranked(value_RNK[:, order], readable_RN[:, order]), ranked(value_RNK, readable_RN)[:, order])
    equal = ranked(np.array([[[2.0], [2.0], [5.0]]]), np.array([[True, True, True]]))
    assert equal[0, :, 0].tolist() == [-0.25, -0.25, 0.5]
