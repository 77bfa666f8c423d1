"""Forecasts without skill are never traded, forecasts with skill soon are: on markets and forecasts whose truth is known."""

import numpy as np
import pytest

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.simulate import simulate
from crossattn_core.experiment import PortfolioSettings
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.labels import compute_labels
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.portfolio.forecast_shrinkage import forecast_shrinkage
from crossattn_core.portfolio.realised_slope import RealisedSlope, realised_slope

YEAR, HISTORY = 24 * 365, 24 * 90
HONEST = PortfolioSettings()


def forecasts_of(panel, of, ic_by_horizon, seed):
    """(T, N) by horizon: forecasts as an honest model gives them, right in size, with a known IC; pure noise of the size that an
    IC of .05 has where it is 0."""
    rng = np.random.default_rng(seed)
    labels = compute_labels(panel, of.labels)
    made = {}
    for horizon, ic in ic_by_horizon.items():
        outcome_TN = labels.value_TNH[:, :, of.labels.horizons.index(horizon)].astype(np.float64)
        deviation_N = np.nanstd(outcome_TN, axis=0)
        # What was forecast for the next day an hour ago is mostly forecast still.
        noise_TN = rng.standard_normal(outcome_TN.shape)
        keep = np.exp(-2 / horizon) if horizon > 1 else 0.0
        for t in range(1, len(noise_TN) if keep else 0):
            noise_TN[t] = keep * noise_TN[t - 1] + np.sqrt(1 - keep**2) * noise_TN[t]
        signal_TN = ic * np.nan_to_num(outcome_TN) + np.sqrt(1 - ic**2) * deviation_N * noise_TN
        made[horizon] = np.where(np.arange(len(noise_TN))[:, None] < HISTORY, np.nan, (ic or 0.05) * signal_TN)
    return made


def traded(panel, of, by_horizon, first=HISTORY):
    rows_D = decision_rows(panel.as_of_T, of.portfolio, first=panel.as_of_T[first])
    targets = target_weights("attention", panel, by_horizon[24], rows_D, of, past_short_TN=by_horizon.get(1))
    market = market_of(panel, of.assets, of.costs, of.backtest)
    return targets, simulate(market, targets, execution_lag=of.labels.execution_lag, capital=1e5)


def net_returns(ic_by_horizon, seeds, assets=8, **portfolio):
    made = []
    for seed in seeds:
        panel = planted_market(YEAR, assets, (), seed=seed)
        of = planted_experiment(panel, {"portfolio": portfolio})
        done = traded(panel, of, forecasts_of(panel, of, ic_by_horizon, seed))[1]
        made.append(done.equity_T[-1] / done.capital - 1)
    return np.array(made)


def test_twenty_markets_without_anything_to_find_cost_nothing():
    net_K = net_returns({1: 0.0, 24: 0.0}, range(20))
    assert abs(np.median(net_K)) < 0.01
    assert net_K.min() > -0.05
    believed_K = net_returns({1: 0.0, 24: 0.0}, range(4), shrinkage_prior_sd=0.0)
    assert np.median(believed_K) < -0.03, "the same forecasts, believed, cost money"


@pytest.mark.slow
def test_a_ridge_on_twenty_null_markets_costs_nothing():
    net_K = []
    for seed in range(20):
        panel = planted_market(YEAR, 8, (), seed=seed)
        of = planted_experiment(panel)
        forecast_TNH = np.full((*panel.mark_price_TN.shape, 2), np.nan)
        for row in range(HISTORY, YEAR, 24 * 28):
            known_T = np.ones(YEAR, np.float32)
            model = fit_model("ridge_var", FitRequest(panel, row - 1, known_T, 1), of)
            rows = np.arange(row, min(row + 24 * 28, YEAR))
            forecast_TNH[rows] = model.forecast(panel, rows)
        done = traded(panel, of, {1: forecast_TNH[..., 0], 24: forecast_TNH[..., 1]})[1]
        net_K.append(done.equity_T[-1] / done.capital - 1)
    assert abs(np.median(net_K)) < 0.01
    assert min(net_K) > -0.05


def test_a_learner_with_an_ic_of_a_twentieth_has_four_fifths_of_its_size_within_sixty_days():
    size_K = []
    for seed in range(7):
        panel = planted_market(HISTORY + 24 * 63, 20, (), seed=seed)
        of = planted_experiment(panel)
        targets, _ = traded(panel, of, forecasts_of(panel, of, {1: 0.05, 24: 0.05}, seed))
        size_K.append(targets.shrinkage_D[58:61].mean())  # 1 where the skill is known
    assert np.median(size_K) > 0.8


def test_skill_over_an_hour_alone_does_not_open_a_day_for_long():
    net_K = net_returns({1: 0.03, 24: 0.0}, range(6))
    assert abs(np.median(net_K)) < 0.02


def test_positions_are_closed_when_skill_ends():
    panel = planted_market(YEAR, 8, (), seed=3)
    of = planted_experiment(panel, {"portfolio": {"skill_half_life_days": 30}})
    skilled, blind = forecasts_of(panel, of, {24: 0.3}, 3)[24], 6 * forecasts_of(panel, of, {24: 0.0}, 4)[24]
    half = HISTORY + (YEAR - HISTORY) // 2
    _, done = traded(panel, of, {24: np.where(np.arange(YEAR)[:, None] < half, skilled, blind)})
    gross_T = done.gross_exposure_T
    assert gross_T[24 * 30 : half - HISTORY].mean() > 0.5
    assert gross_T[-24 * 14 :].max() == 0.0


def test_the_realised_slope_is_least_squares_of_outcome_on_forecast():
    panel = planted_market(24 * 60, 4, (), seed=1)
    rng = np.random.default_rng(2)
    forecast_TN, horizon, lag = 0.01 * rng.standard_normal(panel.mark_price_TN.shape), 6, 1
    rows_D = np.arange(24, 24 * 60, 24)
    deviation_DN = np.full((len(rows_D), 4), 0.005)
    found = realised_slope(
        forecast_TN, panel.mark_price_TN, panel.is_tradable_TN, deviation_DN, rows_D, execution_lag=lag, horizon=horizon,
        half_life_bars=np.inf,
    )  # fmt: skip
    log_TN = np.log(panel.mark_price_TN)
    for decision in (0, 5, len(rows_D) - 1):
        # Forecasts count from the first decision on, when risk is known, and once their horizon has passed.
        t = np.arange(24, rows_D[decision] - lag - horizon + 1)
        x, y = forecast_TN[t], log_TN[t + lag + horizon] - log_TN[t + lag]
        expected_N = (x * y).sum(axis=0) / (x**2).sum(axis=0) if len(t) else np.zeros(4)
        np.testing.assert_allclose(found.slope_DN[decision], expected_N, rtol=1e-9)


def test_the_information_is_right_under_overlapping_horizons():
    rng = np.random.default_rng(5)
    panel = planted_market(24 * 400, 30, (), seed=9)
    noise_TN = rng.standard_normal(panel.mark_price_TN.shape)
    slow_TN = 1e-3 * (np.cumsum(noise_TN, axis=0) - np.concatenate([np.zeros((24, 30)), np.cumsum(noise_TN, axis=0)[:-24]]))
    rows_D = np.arange(24, 24 * 400, 24)
    found = realised_slope(
        slow_TN, panel.mark_price_TN, panel.is_tradable_TN, np.full((len(rows_D), 30), 0.005), rows_D,
        execution_lag=1, horizon=24, half_life_bars=np.inf,
    )  # fmt: skip
    z_N = found.slope_DN[-1] * np.sqrt(found.information_DN[-1])
    assert 0.75 < z_N.std() < 1.25, "30 slopes of nothing are as wide as their standard errors say"


def test_assets_that_move_together_count_as_one():
    panel = planted_market(24 * 200, 1, (), seed=2)
    one_T1 = 0.01 * np.random.default_rng(1).standard_normal((24 * 200, 1))
    rows_D, prices_T1 = np.arange(24, 24 * 200, 24), panel.mark_price_TN

    def information(copies):
        same_TN = np.repeat(prices_T1, copies, axis=1)
        return realised_slope(
            np.repeat(one_T1, copies, axis=1), same_TN, np.isfinite(same_TN), np.full((len(rows_D), copies), 0.005), rows_D,
            execution_lag=1, horizon=24, half_life_bars=np.inf,
        ).information_DN[-1].sum()  # fmt: skip

    assert information(8) == pytest.approx(information(1))


def test_the_factor_grows_with_evidence_and_is_zero_without():
    slope_DN, information_DN = np.full((5, 6), 1.0), np.repeat([[0.0], [1.0], [4.0], [20.0], [400.0]], 6, axis=1)
    factor_D = forecast_shrinkage(RealisedSlope(slope_DN, information_DN), HONEST).mean(axis=1)
    assert factor_D[0] == 0
    assert (np.diff(factor_D[1:]) > 0).all()
    assert factor_D[-1] > 0.95
    assert not forecast_shrinkage(RealisedSlope(np.zeros((5, 6)), information_DN), HONEST).any()


def test_one_good_asset_among_many_keeps_its_forecasts():
    slope_DN, information_DN = np.zeros((1, 20)), np.full((1, 20), 60.0)
    slope_DN[0, 3] = 1.0
    factor_N = forecast_shrinkage(RealisedSlope(slope_DN, information_DN), HONEST)[0]
    assert factor_N[3] > 0.8
    assert not np.delete(factor_N, 3).any()


def test_a_short_horizon_moves_the_odds_and_never_decides_alone():
    nothing, sure = RealisedSlope(np.zeros((1, 5)), np.zeros((1, 5))), RealisedSlope(np.ones((1, 5)), np.full((1, 5), 1e4))
    wrong = RealisedSlope(np.zeros((1, 5)), np.full((1, 5), 100.0))
    weak = RealisedSlope(np.ones((1, 5)), np.full((1, 5), 1.5))
    helped, alone = (forecast_shrinkage(weak, HONEST, short=short)[0] for short in (sure, None))
    assert (helped > alone).all()
    assert not forecast_shrinkage(wrong, HONEST, short=sure).any()
    assert (forecast_shrinkage(nothing, HONEST, short=sure) < 0.9).all()
