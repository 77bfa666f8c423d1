"""Information coefficients and their intervals."""

import numpy as np
import pandas as pd
import pytest

from crossattn_core.analysis.forecast_quality import forecast_arrays, ic_beside, ic_table
from crossattn_core.errors import ContractError
from crossattn_core.experiment import BacktestSettings

SETTINGS = BacktestSettings(bootstrap_samples=400)
NAMES = ("a", "b", "c", "d")


def _pair(signal: float, bars: int = 168 * 20, seed: int = 0):
    generator = np.random.default_rng(seed)
    forecast_TN, noise_TN = generator.standard_normal((2, bars, 4)) * 0.01
    return forecast_TN, signal * forecast_TN + np.sqrt(1 - signal**2) * noise_TN


def test_ic_is_the_plain_correlation_over_known_pairs() -> None:
    forecast_TN, outcome_TN = _pair(0.3)
    outcome_TN[::5, 2] = np.nan
    known = np.isfinite(outcome_TN[:, 2])
    expected = np.corrcoef(forecast_TN[known, 2], outcome_TN[known, 2])[0, 1]
    table = ic_table({"f": forecast_TN}, outcome_TN, NAMES, 1, SETTINGS, block_bars=168).set_index(["asset_id", "measure"])
    assert table.loc[("c", "IC"), "value"] == pytest.approx(expected, abs=1e-12)


def test_the_average_row_is_the_mean_of_the_assets_and_lies_in_its_interval() -> None:
    table = ic_table({"f": _pair(0.1)[0]}, _pair(0.1)[1], NAMES, 1, SETTINGS, block_bars=168)
    ic = table[table["measure"] == "IC"].set_index("asset_id")
    assert ic.loc["all", "value"] == pytest.approx(ic.loc[list(NAMES), "value"].mean())
    assert ic.loc["all", "low"] < 0.1 < ic.loc["all", "high"]
    assert ic.loc["all", "high"] - ic.loc["all", "low"] < ic.loc["a", "high"] - ic.loc["a", "low"]


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = []
    for seed in range(60):
        forecast_TN, outcome_TN = _pair(0.1, bars=168 * 12, seed=seed)
        row = (
            ic_table({"f": forecast_TN}, outcome_TN, NAMES, 1, SETTINGS, block_bars=168)
            .query("asset_id == 'all' and measure == 'IC'")
            .iloc[0]
        )
        covered.append(row["low"] <= 0.1 <= row["high"])
    assert np.mean(covered) >= 0.85


def test_cross_sectional_and_rank_ic_are_named_and_see_a_perfect_ranking() -> None:
    forecast_TN = np.random.default_rng(1).standard_normal((500, 4))
    table = ic_table({"f": forecast_TN}, np.exp(forecast_TN), NAMES, 24, SETTINGS, block_bars=168).set_index(
        ["asset_id", "measure"]
    )
    assert table.loc[("all", "rank IC"), "value"] == pytest.approx(1.0)
    assert 0.5 < table.loc[("all", "cross-sectional IC"), "value"] < 1.0


def test_rank_ic_is_spearmans_where_forecasts_tie_in_any_order_of_assets() -> None:
    forecast_TN, outcome_TN = np.round(np.random.default_rng(2).standard_normal((2, 300, 4)))
    outcome_TN[::5, 1] = np.nan
    rows = (pd.DataFrame({"f": x_N, "y": y_N}).dropna() for x_N, y_N in zip(forecast_TN, outcome_TN, strict=True))
    expected = np.nanmean([pairs["f"].corr(pairs["y"], method="spearman") for pairs in rows if (pairs.nunique() > 1).all()])
    for order_N in ([0, 1, 2, 3], [3, 2, 1, 0]):
        table = ic_table({"f": forecast_TN[:, order_N]}, outcome_TN[:, order_N], NAMES, 24, SETTINGS, block_bars=168)
        (found,) = table.loc[table["measure"] == "rank IC", "value"]
        assert found == pytest.approx(expected, abs=1e-12)


def test_weeks_without_forecasts_widen_nothing() -> None:
    forecast_TN, outcome_TN = _pair(0.1)
    late_TN = np.concatenate([np.full((168 * 30, 4), np.nan), forecast_TN])
    outcomes_TN = np.concatenate([np.zeros((168 * 30, 4)), outcome_TN])
    plain, late = (
        ic_table({"f": f}, o, NAMES, 1, SETTINGS, block_bars=168) for f, o in ((forecast_TN, outcome_TN), (late_TN, outcomes_TN))
    )
    pd.testing.assert_frame_equal(plain, late)


def test_a_forecast_knows_nothing_beside_itself() -> None:
    forecast_TN, outcome_TN = _pair(0.2)
    gain, low, high = ic_beside(2 * forecast_TN + 1, forecast_TN, outcome_TN, SETTINGS, block_bars=168)
    assert (gain, low, high) == (0.0, 0.0, 0.0)
    noise_TN = np.random.default_rng(5).standard_normal(forecast_TN.shape)
    gain, low, _ = ic_beside(forecast_TN, noise_TN, outcome_TN, SETTINGS, block_bars=168)
    assert low > 0.1
    assert gain == pytest.approx(0.2, abs=0.05)


def test_what_two_forecasts_share_is_credited_to_neither() -> None:
    forecast_TN, outcome_TN = _pair(0.2)
    noisy_TN = forecast_TN + 0.1 * np.random.default_rng(6).standard_normal(forecast_TN.shape)
    gain, low, high = ic_beside(noisy_TN, forecast_TN, outcome_TN, SETTINGS, block_bars=168)
    assert low < 0 < high
    assert abs(gain) < 0.03


def test_the_noise_of_the_second_forecast_does_not_widen_the_interval_of_what_the_first_knows() -> None:
    forecast_TN, outcome_TN = _pair(0.05)
    own = ic_table({"f": forecast_TN}, outcome_TN, NAMES, 1, SETTINGS, block_bars=168)
    own = own[(own["asset_id"] == "all") & (own["measure"] == "IC")].iloc[0]
    noise_TN = np.random.default_rng(5).standard_normal(forecast_TN.shape)
    gain, low, high = ic_beside(forecast_TN, noise_TN, outcome_TN, SETTINGS, block_bars=168)
    assert gain == pytest.approx(own["value"], abs=0.005)
    assert high - low == pytest.approx(own["high"] - own["low"], rel=0.1)


def test_too_few_weeks_give_no_interval() -> None:
    forecast_TN, outcome_TN = _pair(0.2, bars=168 * 3)
    assert ic_table({"f": forecast_TN}, outcome_TN, NAMES, 1, SETTINGS, block_bars=168)["low"].isna().all()


def test_a_forecast_of_an_unknown_asset_is_refused() -> None:
    forecasts = pd.DataFrame(
        {"as_of": [np.datetime64("2025-01-01T01", "us")], "asset_id": ["zzz"], "family": ["f"], "horizon": [1], "forecast": [0.1]}
    )
    with pytest.raises(ContractError, match="1 forecasts lie outside"):
        forecast_arrays(forecasts, np.array(["2025-01-01T01"], dtype="datetime64[us]"), NAMES, (1,))
