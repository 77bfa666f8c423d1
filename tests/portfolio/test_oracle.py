"""The oracle knows the simulated market's mean, and nothing after a decision."""

from datetime import date, datetime

import numpy as np
import pytest

from crossattn_core.candles.feeds.simulated import SimulatedFeed
from crossattn_core.candles.feeds.simulated_mean import expected_returns
from crossattn_core.errors import BacktestError
from crossattn_core.experiment import Period, PlantedLead, SimulatedMarket
from crossattn_core.grid import HOURLY
from crossattn_core.portfolio.decisions import target_weights
from crossattn_core.universe import Asset
from tests.portfolio.test_weights import OF, ON, ROWS
from tests.report import story

START = datetime(2024, 1, 1)
BTC, ETH, SOL = (Asset(venue="bybit", symbol=f"{name}USDT") for name in ("BTC", "ETH", "SOL"))
NVDA, AMD = (Asset(venue="yahoo", symbol=name) for name in ("NVDA", "AMD"))
CHAIN = (
    PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=5, share=0.3),
    PlantedLead(leader="ETHUSDT", follower="SOLUSDT", lag=4, share=0.3),
)
CALM = {"missing_share": 0.0, "stress_multiple": 1.0, "common_share": 0.0}


def closes(settings, assets, rows):
    feed = SimulatedFeed(settings, assets, Period(start=START.date(), end=date(2024, 12, 31)))
    end = START + rows * HOURLY.step
    return np.stack([feed.candles(asset, START, end)["close"].to_numpy() for asset in assets], axis=1)


@pytest.mark.parametrize(("leads", "follower"), [(CHAIN[:1], 1), (CHAIN, 2)])
def test_outcomes_regress_on_the_oracles_forecast_with_slope_one(leads, follower):
    settings, rows, lag, horizon = SimulatedMarket(leads=leads, **CALM), 24 * 300, 1, 6
    mean_TN = expected_returns(settings, (BTC, ETH, SOL), START, rows, execution_lag=lag, horizon=horizon, grid=HOURLY)
    log_TN = np.log(closes(settings, (BTC, ETH, SOL), rows))
    last = rows - lag - horizon
    x_T, y_T = mean_TN[:last, follower], log_TN[lag + horizon :, follower][:last] - log_TN[lag:, follower][:last]
    assert (x_T * y_T).sum() / (x_T**2).sum() == pytest.approx(1.0, abs=0.1)
    assert not mean_TN[:, 0].any(), "nobody leads the first asset"


def test_a_lead_shorter_than_the_fill_is_worth_nothing_to_trade():
    settings = SimulatedMarket(leads=(PlantedLead(leader="NVDA", follower="AMD", lag=1, share=0.3),), **CALM)
    mean_TN = expected_returns(settings, (NVDA, AMD), START, 24 * 60, execution_lag=1, horizon=24, grid=HOURLY)
    assert not mean_TN.any()


def test_a_lead_of_two_bars_in_a_session_is_known_one_bar_ahead_of_the_fill():
    settings = SimulatedMarket(leads=(PlantedLead(leader="NVDA", follower="AMD", lag=2, share=0.3),), **CALM)
    mean_TN = expected_returns(settings, (NVDA, AMD), START, 24 * 60, execution_lag=1, horizon=24, grid=HOURLY)
    hour_T = (np.arange(24 * 60) + 1) % 24
    known_T = mean_TN[:, 1] != 0
    assert known_T.any()
    assert set(hour_T[known_T]) <= set(range(15, 20)), "in the session, while a bar after the next is still to come"


def test_a_longer_market_moves_no_expectation():
    settings = SimulatedMarket()
    short, long = (
        expected_returns(settings, OF.assets, START, rows, execution_lag=1, horizon=24, grid=HOURLY)
        for rows in (24 * 40, 24 * 80)
    )
    np.testing.assert_array_equal(short, long[: len(short)])
    assert short.any()


def test_the_oracle_trades_alike_whatever_comes_after_and_only_on_simulated_candles():
    row = int(ROWS[40])
    whole, known = (target_weights("oracle", on, None, rows, OF) for on, rows in ((ON, ROWS), (ON.until(row + 1), ROWS[:41])))
    np.testing.assert_array_equal(known.target_DN, whole.target_DN[:41])
    assert np.nan_to_num(whole.target_DN).any()
    files = story.experiment()
    files = files.model_copy(update={"feed": files.feed.model_copy(update={"kind": "files"})})
    with pytest.raises(BacktestError, match=r"oracle: the true mean of 'files' candles is not known"):
        target_weights("oracle", ON, None, ROWS, files)
