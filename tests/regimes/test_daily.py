"""Regimes are causal, find a storm, and do not flicker."""

import dataclasses
from datetime import timedelta

import numpy as np
import pytest

from crossattn_core.errors import ContractError
from crossattn_core.experiment import RegimeSettings
from crossattn_core.regimes.daily import confirm, daily_regimes
from crossattn_core.regimes.detectors.registry import DETECTORS
from crossattn_core.regimes.windows import regime_in_force, regime_windows
from tests.walk_forward.fakes import FIRST_DAY, synthetic_panel

DAYS = 120


def _storm_panel(seed: int = 3):
    volatility_T = np.full(DAYS * 24, 0.004)
    volatility_T[70 * 24 : 95 * 24] = 0.012
    return synthetic_panel(DAYS, volatility_T=volatility_T, seed=seed)


def _settings(detector: str) -> RegimeSettings:
    return RegimeSettings(detector=detector, minimum_days=20, volatility_days=5, confirm_days=2, max_window_days=30)


@pytest.mark.parametrize("detector", DETECTORS.names())
def test_a_days_regime_does_not_depend_on_later_days(detector) -> None:
    panel = _storm_panel()
    whole = daily_regimes(panel, _settings(detector))
    for days in (21, 60, 75, 96, 119):
        prefix = daily_regimes(panel.until(days * 24), _settings(detector))
        for name in ("regime_D", "state_D", "level_D", "volatility_D", "correlation_D"):
            np.testing.assert_array_equal(getattr(prefix, name), getattr(whole, name)[:days], err_msg=f"{name} at {days}")


@pytest.mark.parametrize("detector", DETECTORS.names())
def test_rewriting_the_future_moves_no_regime(detector) -> None:
    panel, other = _storm_panel(), _storm_panel(seed=8)
    cut = 80 * 24
    price_TN = np.concatenate([panel.trade_price_TN[:cut], other.trade_price_TN[cut:]])
    mixed = dataclasses.replace(panel, trade_price_TN=price_TN)
    before, after = daily_regimes(panel, _settings(detector)), daily_regimes(mixed, _settings(detector))
    np.testing.assert_array_equal(before.regime_D[:80], after.regime_D[:80])


def test_a_storm_is_named_stress_within_days_and_forgotten_after() -> None:
    regimes = daily_regimes(_storm_panel(), _settings("volatility_terciles"))
    assert (regimes.regime_D[74:94] == 2).all()
    assert (regimes.regime_D[102:] < 2).all()


def test_no_regime_is_named_before_the_minimum_of_days() -> None:
    regimes = daily_regimes(_storm_panel(), _settings("volatility_terciles"))
    assert (regimes.regime_D[:19] == -1).all()
    assert regimes.regime_D[20] >= 0


def test_a_wild_newcomer_is_not_a_storm() -> None:
    panel = synthetic_panel(DAYS)
    price_TN = panel.trade_price_TN.copy()
    wild_T = np.random.default_rng(1).standard_normal(len(price_TN)) * 0.05
    price_TN[:, 3] = np.exp(np.cumsum(wild_T))
    price_TN[: 60 * 24, 3] = np.nan
    without, given = (
        daily_regimes(dataclasses.replace(panel, trade_price_TN=prices_TN), _settings("volatility_terciles"))
        for prices_TN in (panel.trade_price_TN[:, :3], price_TN)
    )
    assert (given.regime_D == without.regime_D).mean() > 0.75
    assert (given.regime_D[60:] == 2).mean() < 0.6


def test_one_odd_day_changes_nothing() -> None:
    assert confirm(np.array([0, 0, 2, 0, 0, -1, 2, 0]), 2).tolist() == [0] * 8


def test_a_panel_that_starts_in_the_middle_of_a_day_is_refused() -> None:
    panel = synthetic_panel(3)
    with pytest.raises(ContractError, match="starts 1 hour after midnight"):
        daily_regimes(dataclasses.replace(panel, as_of_T=panel.as_of_T + np.timedelta64(5, "h")), RegimeSettings())


def test_windows_cover_every_day_from_the_first_regime_on_without_overlap() -> None:
    settings = _settings("volatility_terciles")
    regimes = daily_regimes(_storm_panel(), settings)
    windows = regime_windows(regimes, settings)
    assert (windows["end"].iloc[:-1].to_numpy() == windows["confirmed"].iloc[1:].to_numpy()).all()
    assert windows["end"].isna().tolist() == [False] * (len(windows) - 1) + [True]
    assert (windows["onset"] <= windows["confirmed"]).all()
    assert windows["days"].max() <= settings.max_window_days
    known = int((regimes.regime_D >= 0).sum())
    assert windows["days"].sum() == known - 1  # the newest regime is in force from the day after the panel


def test_the_regime_in_force_is_the_one_known_at_midnight() -> None:
    settings = _settings("volatility_terciles")
    regimes = daily_regimes(_storm_panel(), settings)
    windows = regime_windows(regimes, settings)
    for d in range(DAYS):
        assert regime_in_force(windows, FIRST_DAY + timedelta(days=d + 1)).regime == regimes.regime_D[d]


def test_windows_of_a_prefix_are_a_prefix_but_for_the_one_that_was_open() -> None:
    settings = _settings("volatility_terciles")
    regimes = daily_regimes(_storm_panel(), settings)
    whole = regime_windows(regimes, settings)
    for day in (FIRST_DAY + timedelta(days=d) for d in (30, 76, 100)):
        prefix = regime_windows(regimes.until(day), settings)
        fixed = ["window_id", "regime", "onset", "confirmed", "opened_by"]
        assert prefix[fixed].equals(whole[fixed].iloc[: len(prefix)])


def test_the_filter_names_a_storm_and_the_calm_after_it() -> None:
    settings = _settings("hidden_markov").model_copy(update={"refit_days": 7})
    regimes = daily_regimes(_storm_panel(), settings)
    assert (regimes.regime_D[78:94] == 2).all()  # the fit must have seen a few days of storm to tell it from noise
    assert (regimes.regime_D[98:] == 0).all()
    assert (regimes.regime_D[40:69] == 0).mean() > 0.8


def test_absorption_sees_assets_that_begin_to_move_as_one() -> None:
    panel = synthetic_panel(DAYS, 6)
    price_TN = panel.trade_price_TN.copy()
    common_T = np.zeros(DAYS * 24)
    common_T[80 * 24 :] = 0.01 * np.random.default_rng(4).standard_normal(40 * 24)
    price_TN *= np.exp(np.cumsum(common_T))[:, None]
    settings = _settings("absorption").model_copy(update={"correlation_days": 10})
    regimes = daily_regimes(dataclasses.replace(panel, trade_price_TN=price_TN), settings)
    assert regimes.level_D[100] > regimes.level_D[70] + 0.3
    assert (regimes.regime_D[90:] == 2).all()


def test_a_window_tells_how_closely_assets_moved_together_in_it() -> None:
    panel = synthetic_panel(DAYS, 4, closed_share=0.0)
    price_TN = panel.trade_price_TN.copy()
    common_T = np.concatenate([np.zeros(60 * 24), 0.01 * np.random.default_rng(4).standard_normal(60 * 24)])
    price_TN *= np.exp(np.cumsum(common_T))[:, None]
    regimes = daily_regimes(dataclasses.replace(panel, trade_price_TN=price_TN), _settings("volatility_terciles"))
    assert abs(np.nanmean(regimes.correlation_D[:60])) < 0.05
    assert np.nanmean(regimes.correlation_D[61:]) == pytest.approx(0.8, abs=0.05)
    windows = regime_windows(regimes, _settings("volatility_terciles"))
    assert windows["correlation"].iloc[-1] > 0.7
