from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from crossattn_core.backtest.market import market_of
from crossattn_core.backtest.performance import sharpe
from crossattn_core.backtest.simulate import simulate
from crossattn_core.errors import BacktestError
from crossattn_core.panel.align import forecast_array
from crossattn_core.portfolio.decisions import decision_rows, target_weights
from crossattn_core.portfolio.positions import Positions
from crossattn_core.portfolio.target_weights import read_weights, save_weights
from tests.report import story

OF = story.experiment()
ON = story.panel(OF, first=date(2025, 1, 1), last=date(2025, 4, 15))
ROWS = decision_rows(ON.as_of_T, OF.portfolio, first=np.datetime64("2025-02-01T00:00", "us"))
FORECAST = story.forecasts(OF, ON)
RULES = ("long_short", "long_only", "softmax", "tanh", "rank")


def weights(strategy, of=OF, on=ON, forecast=FORECAST, rows=ROWS):
    return target_weights(strategy, on, forecast if strategy == "attention" else None, rows, of)


def simulated(targets, of=OF, on=ON):
    return simulate(market_of(on, of.assets, of.costs, of.backtest), targets, execution_lag=of.labels.execution_lag, capital=1e5)


def rewritten_after(on, row, seed=4):
    """The panel with everything after ``row`` drawn anew."""
    draw = np.random.default_rng(seed)
    changes = {}
    for name in ("trade_price_TN", "mark_price_TN", "age_hours_TN", "funding_rate_TN"):
        array = getattr(on, name).copy()
        array[row + 1 :] = array[row + 1 :] * draw.uniform(0.5, 2.0, array[row + 1 :].shape)
        array[row + 1 :][draw.random(array[row + 1 :].shape) < 0.2] = np.nan
        changes[name] = array
    return replace(on, **changes)


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [(name, "long_short") for name in story.STRATEGIES[:-1]] + [("attention", rule) for rule in RULES[1:]],
)
def test_rewriting_the_future_moves_no_weight(strategy, rule):
    of = story.experiment(rule=rule, volatility_limit=0.2, volatility_target=0.3)
    before = weights(strategy, of)
    for decision in (3, 30, len(ROWS) - 2):
        row = int(ROWS[decision])
        changed_TN = FORECAST.copy()
        changed_TN[row + 1 :] = -changed_TN[row + 1 :]
        after = weights(strategy, of, rewritten_after(ON, row), changed_TN)
        np.testing.assert_array_equal(after.target_DN[: decision + 1], before.target_DN[: decision + 1])


@pytest.mark.parametrize("strategy", story.STRATEGIES[:-1])
def test_a_longer_panel_moves_no_weight(strategy):
    row = int(ROWS[40])
    short = target_weights(strategy, ON.until(row + 1), FORECAST[: row + 1] if strategy == "attention" else None, ROWS[:41], OF)
    np.testing.assert_array_equal(short.target_DN, weights(strategy).target_DN[:41])


@pytest.mark.parametrize("strategy", ["equal_weight", "inverse_volatility"])
def test_passive_weights_are_fully_invested_and_long(strategy):
    target_DN = weights(strategy).target_DN
    assert (target_DN >= 0).all()
    np.testing.assert_allclose(target_DN.sum(axis=1), 1.0)


def test_buy_and_hold_buys_each_asset_once_and_only_when_it_can():
    units_KN = simulated(weights("buy_and_hold")).units_KN
    bought_KN = np.diff(units_KN, axis=0, prepend=0.0) > 1e-12
    assert (bought_KN.sum(axis=0) == 1).all()
    first_K = np.argmax(bought_KN, axis=0)
    crypto_N = np.array([asset.venue == "bybit" for asset in OF.assets])
    assert (first_K[crypto_N] == 0).all()
    assert (first_K[~crypto_N] == 2).all(), "2025-02-01 is a Saturday: shares wait for Monday"


@pytest.mark.parametrize("strategy", ["attention", "momentum"])
def test_gross_exposure_after_a_trade_stays_near_its_limit(strategy):
    done = simulated(weights(strategy))
    traded_K = (done.trade_KN != 0).any(axis=1)
    assert done.gross_exposure_T[done.fill_K][traded_K].max() < 1.05 * OF.portfolio.gross


def test_no_order_goes_to_a_closed_venue():
    saturday_D = (ON.as_of_T[ROWS].astype("datetime64[D]").astype(np.int64) + 3) % 7 >= 5
    shares_N = np.array([asset.venue == "yahoo" for asset in OF.assets])
    assert np.isnan(weights("attention").target_DN[np.ix_(saturday_D, shares_N)]).all()


def test_a_forecast_that_does_not_pay_for_its_trade_opens_nothing():
    faint_TN = np.where(np.isfinite(FORECAST), 0.5 * OF.costs.bybit.trade_bps / 1e4, np.nan)
    of = OF.model_copy(update={"costs": OF.costs.model_copy(update={"funding": False})})
    target_DN = weights("attention", of, forecast=faint_TN).target_DN
    assert not np.nan_to_num(target_DN).any()


def test_long_only_without_a_forecast_worth_its_cost_is_equal_weight():
    of = story.experiment(rule="long_only", no_trade_band=0.0)
    of = of.model_copy(update={"costs": of.costs.model_copy(update={"funding": False})})
    nothing_TN = np.where(np.isfinite(FORECAST), 0.0, np.nan)
    first_monday = weights("attention", of, forecast=nothing_TN).target_DN[2]
    assert np.nanmin(first_monday) > 0
    np.testing.assert_allclose(np.nansum(first_monday[6:]), 0.4, atol=1e-9)


def test_unknown_forecasts_leave_positions_alone():
    target_DN = weights("attention", forecast=np.full_like(FORECAST, np.nan)).target_DN
    assert np.isnan(target_DN).all()


def test_forecasts_that_turn_out_worthless_are_shrunk():
    upside_down = weights("attention", forecast=-5 * FORECAST)
    honest = weights("attention", forecast=FORECAST)
    assert upside_down.shrinkage_D[-1] < 0.15 < honest.shrinkage_D[-1]
    assert not honest.shrinkage_DN[0].any(), "before anything is realised luck is as likely as skill"


@pytest.mark.parametrize("rule", ["long_short", "tanh", "rank"])
def test_no_rule_trades_forecasts_that_are_never_right(rule):
    of = story.experiment(rule=rule)
    assert not simulated(weights("attention", of, forecast=-FORECAST), of).turnover_T.any()


def test_an_asset_that_is_forecast_well_is_shrunk_less_than_one_that_is_not():
    half_right_TN = FORECAST.copy()
    half_right_TN[:, 0], half_right_TN[:, 1] = 2 * FORECAST[:, 0], -2 * FORECAST[:, 1]
    shrinkage_N = weights("attention", forecast=half_right_TN).shrinkage_DN[-1]
    assert shrinkage_N[0] > shrinkage_N[1] + 0.1


def test_without_a_prior_deviation_the_shrinkage_never_moves():
    shrinkage_DN = weights("attention", story.experiment(shrinkage_prior_sd=0.0)).shrinkage_DN
    assert (shrinkage_DN == OF.portfolio.shrinkage).all()


def test_perfect_foresight_earns_a_huge_sharpe_and_the_same_shifted_later_does_not():
    foresight_TN = story.outcome(OF, ON)
    of = story.experiment(shrinkage=1.0)
    seen = simulated(weights("attention", of, forecast=foresight_TN), of)
    late_TN = np.full_like(foresight_TN, np.nan)
    late_TN[48:] = foresight_TN[:-48]
    believed = story.experiment(shrinkage=1.0, shrinkage_prior_sd=0.0)
    late = simulated(weights("attention", believed, forecast=late_TN), believed)
    assert sharpe(seen.return_T[1:], 8760) > 15
    assert sharpe(late.return_T[1:], 8760) < 3
    assert not simulated(weights("attention", of, forecast=late_TN), of).turnover_T.any()


def test_positions_see_what_the_simulator_holds():
    targets = weights("attention")
    done = simulated(targets)
    positions = Positions(ON, OF)
    for decision, row in enumerate(ROWS):
        held_N = positions.weights_at(int(row))
        np.testing.assert_allclose(held_N, done.weight_TN[row - done.start], atol=0.004)
        positions.order(int(row), targets.target_DN[decision])


def test_stored_weights_come_back_bit_for_bit(tmp_path):
    stored = weights("attention")
    save_weights(tmp_path, stored)
    found = read_weights(tmp_path, "attention")
    assert found.content_hash == stored.content_hash
    np.testing.assert_array_equal(found.shrinkage_DN, stored.shrinkage_DN)


def test_reading_weights_that_are_not_there_says_so(tmp_path):
    with pytest.raises(BacktestError, match="no weights of 'attention'"):
        read_weights(tmp_path, "attention")


def test_a_family_without_forecasts_is_refused():
    with pytest.raises(BacktestError, match="forecast family"):
        target_weights("attention", ON, None, ROWS, OF)


def test_forecast_rows_land_on_their_hour_and_asset():
    import pandas as pd

    frame = pd.DataFrame(
        {
            "as_of": [ON.as_of_T[5], ON.as_of_T[7], ON.as_of_T[7]],
            "asset_id": [OF.asset_ids[1], OF.asset_ids[0], "bybit:linear:GONE"],
            "family": "attention",
            "horizon": 24,
            "forecast": [0.1, 0.2, 0.3],
        }
    )
    forecast_TN = forecast_array(frame, ON, "attention", 24)
    assert np.isfinite(forecast_TN).sum() == 2
    assert forecast_TN[5, 1] == np.float32(0.1)
    assert forecast_TN[7, 0] == np.float32(0.2)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_every_limit(rule):
    of = story.experiment(
        rule=rule, gross=0.9, max_weight=0.2, sector_caps={"layer1": 0.4}, venue_caps={"yahoo": 0.3}, no_trade_band=0.0,
        cost_multiple=0.0,
    )  # fmt: skip
    done = simulated(weights("attention", of), of)
    filled_KN = np.where(np.isfinite(done.target_KN), done.weight_TN[done.fill_K], 0.0)
    layer1 = np.array([asset.sector == "layer1" for asset in of.assets])
    assert np.abs(filled_KN).max() <= 0.2 + 1e-9
    # Weights drift between a decision and its fill, one row later.
    assert np.abs(filled_KN[:, layer1]).sum(axis=1).max() <= 0.4 + 1e-9
    assert np.abs(done.weight_TN[done.fill_K]).sum(axis=1).max() <= 0.9 * 1.03


def test_softmax_is_long_only_and_fully_invested_when_everything_trades():
    target_DN = weights("attention", story.experiment(rule="softmax", max_weight=1.0, no_trade_band=0.0)).target_DN
    all_trade_D = np.isfinite(target_DN).all(axis=1)
    assert (target_DN[all_trade_D] >= 0).all()
    np.testing.assert_allclose(target_DN[all_trade_D].sum(axis=1), 1.0, atol=1e-9)


def test_rank_buckets_are_equal_and_opposite():
    target_DN = weights("attention", story.experiment(rule="rank", no_trade_band=0.0)).target_DN
    monday_N = target_DN[2 + 7 * 8]
    assert (np.unique(np.round(monday_N[np.isfinite(monday_N)], 9)).tolist()) == [-0.166666667, 0.0, 0.166666667]


def test_dollar_neutral_tanh_sums_to_zero():
    of = story.experiment(rule="tanh", dollar_neutral=True, no_trade_band=0.0, max_weight=1.0)
    target_DN = weights("attention", of).target_DN
    all_trade_D = np.isfinite(target_DN).all(axis=1)
    np.testing.assert_allclose(target_DN[all_trade_D].sum(axis=1), 0.0, atol=0.05)


def test_a_lower_volatility_limit_makes_a_calmer_portfolio():
    wild = simulated(weights("attention", story.experiment(rule="tanh")))
    calm = simulated(weights("attention", story.experiment(rule="tanh", volatility_limit=0.08)))
    assert np.std(calm.return_T) < 0.6 * np.std(wild.return_T)
    assert np.std(calm.return_T) * np.sqrt(8760) < 0.12


@pytest.mark.parametrize("target", [0.05, 0.10])
def test_a_volatility_target_is_what_the_portfolio_comes_to_have(target):
    of = story.experiment(rule="tanh", volatility_target=target, gross=10.0, max_weight=1.0, no_trade_band=0.0)
    wild = simulated(weights("attention", of), of)
    assert np.std(wild.return_T) * np.sqrt(8760) == pytest.approx(target, rel=0.25)


def test_a_turnover_limit_holds_at_every_decision():
    done = simulated(weights("attention", story.experiment(turnover_limit=0.25)))
    assert done.turnover_T.max() < 0.25 * 1.05


def test_trading_half_of_the_way_turns_over_less():
    whole = simulated(weights("attention"))
    half = simulated(weights("attention", story.experiment(trade_share=0.5)))
    assert half.turnover_T.sum() < 0.8 * whole.turnover_T.sum()


def test_a_cap_on_a_sector_nobody_has_is_refused():
    with pytest.raises(BacktestError, match="'spaceships'"):
        weights("attention", story.experiment(sector_caps={"spaceships": 0.1}))
