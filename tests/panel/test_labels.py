"""Labels look ahead exactly as far as they say, and say when they were known."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planted.markets import planted_suite_market
from crossattn_core.experiment import LabelSettings
from crossattn_core.panel.labels import compute_labels, next_bar_labels


@st.composite
def prices(draw: st.DrawFn) -> np.ndarray:
    bars, assets = draw(st.integers(1, 60)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    price_TN = np.exp(rng.standard_normal((bars, assets)))
    price_TN[rng.random((bars, assets)) < draw(st.floats(0, 0.9))] = np.nan
    return price_TN


@st.composite
def label_settings(draw: st.DrawFn) -> LabelSettings:
    horizons = tuple(sorted(draw(st.sets(st.integers(1, 20), min_size=1, max_size=3))))
    return LabelSettings(
        horizons=horizons,
        trade_horizon=horizons[-1],
        execution_lag=draw(st.integers(1, 4)),
        max_exit_delay_hours=draw(st.integers(0, 10)),
    )


def label_by_hand(price_T: np.ndarray, t: int, horizon: int, chosen: LabelSettings) -> tuple[float, int]:
    fill = t + chosen.execution_lag
    if fill >= len(price_T) or np.isnan(price_T[fill]):
        return np.nan, -1
    for delay in range(chosen.max_exit_delay_hours + 1):
        leave = fill + horizon + delay
        if leave < len(price_T) and np.isfinite(price_T[leave]):
            return float(np.log(price_T[leave] / price_T[fill])), leave
    return np.nan, -1


@given(prices(), label_settings())
@settings(max_examples=60, deadline=None)
def test_labels_are_what_the_definition_says_row_by_row(price_TN: np.ndarray, chosen: LabelSettings) -> None:
    labels = compute_labels(price_TN, chosen)
    for t in range(len(price_TN)):
        for n in range(price_TN.shape[1]):
            for h, horizon in enumerate(chosen.horizons):
                value, end = label_by_hand(price_TN[:, n], t, horizon, chosen)
                assert labels.end_TNH[t, n, h] == end
                np.testing.assert_allclose(labels.value_TNH[t, n, h], value, rtol=1e-5, atol=1e-6)


@given(prices(), label_settings(), st.data())
@settings(max_examples=40, deadline=None)
def test_prices_after_the_cut_off_change_no_label_known_at_it(
    price_TN: np.ndarray, chosen: LabelSettings, data: st.DataObject
) -> None:
    cut_off = data.draw(st.integers(0, len(price_TN) - 1))
    rewritten_TN = price_TN.copy()
    rewritten_TN[cut_off + 1 :] = 7.0
    known, changed = (compute_labels(each, chosen).known_at(cut_off) for each in (price_TN, rewritten_TN))
    np.testing.assert_array_equal(known, changed)


def test_the_next_bar_runs_from_the_newest_close_to_the_next_trade() -> None:
    panel = planted_suite_market("sessions", 0, bars=400).panel
    labels = next_bar_labels(panel)
    rows, assets = np.nonzero(np.isfinite(labels.value_TNH[:, :, 0]))
    expected = np.log(panel.trade_price_TN[rows + 1, assets] / panel.mark_price_TN[rows, assets])
    np.testing.assert_allclose(labels.value_TNH[rows, assets, 0], expected, rtol=1e-5, atol=1e-7)
    assert (labels.end_TNH[rows, assets, 0] == rows + 1).all()
    closed_TN = ~np.isfinite(panel.trade_price_TN[1:])
    assert np.isnan(labels.value_TNH[:-1, :, 0][closed_TN]).all()
