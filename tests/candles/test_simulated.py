"""The simulated market is what it says: leads, sessions, regimes, and a prefix that never changes."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from crossattn_core.candles.feeds.simulated import SimulatedFeed, planted_truth
from crossattn_core.candles.quality import validate_candles, validate_funding
from crossattn_core.days import to_naive
from crossattn_core.errors import ExperimentError, PermanentFeedError
from crossattn_core.experiment import Period, PlantedLead, SimulatedMarket
from crossattn_core.trading_calendar import expected_bars
from crossattn_core.universe import Asset

BTC = Asset(venue="bybit", symbol="BTCUSDT")
ETH = Asset(venue="bybit", symbol="ETHUSDT")
NVDA = Asset(venue="yahoo", symbol="NVDA")
AMD = Asset(venue="yahoo", symbol="AMD")
START, LATER = datetime(2024, 1, 1), datetime(2026, 1, 1)


def market(*leads: PlantedLead, assets=(BTC, ETH, NVDA, AMD), last=date(2025, 12, 31), **knobs) -> SimulatedFeed:
    settings = SimulatedMarket(leads=leads, missing_share=knobs.pop("missing_share", 0.0), **knobs)
    return SimulatedFeed(settings, assets, Period(start=START.date(), end=last))


def log_returns(feed: SimulatedFeed, asset: Asset) -> pd.Series:
    """Log of close over open by closing instant: the bar's own move, without any gap."""
    rows = feed.candles(asset, START, LATER)
    return pd.Series(np.log(rows["close"] / rows["open"]).to_numpy(), index=rows["closed_at"])


@pytest.mark.parametrize("asset", [BTC, NVDA])
def test_a_longer_period_has_the_shorter_one_as_its_prefix(asset):
    lead = PlantedLead(leader="BTCUSDT", follower="NVDA", lag=2)
    short = market(lead, last=date(2024, 5, 1)).candles(asset, START, datetime(2024, 5, 2))
    long = market(lead).candles(asset, START, datetime(2024, 5, 2))
    pd.testing.assert_frame_equal(short.drop(columns="fetched_at"), long.drop(columns="fetched_at"), check_exact=True)


def test_an_asset_without_leaders_does_not_depend_on_who_else_is_there():
    alone = market(assets=(BTC,)).candles(BTC, START, LATER)
    together = market(PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=1)).candles(BTC, START, LATER)
    pd.testing.assert_frame_equal(alone, together, check_exact=True)


def test_another_seed_is_another_market():
    assert not market(seed=1).candles(BTC, START, LATER)["close"].equals(market(seed=2).candles(BTC, START, LATER)["close"])


@pytest.mark.parametrize("lag", [1, 3, 12])
def test_a_linear_lead_explains_its_share_of_the_followers_variance_at_its_lag(lag):
    feed = market(PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=lag, share=0.2))
    leader, follower = log_returns(feed, BTC), log_returns(feed, ETH)
    explained = {shift: leader.shift(shift).corr(follower) ** 2 for shift in range(1, 15)}
    assert explained.pop(lag) == pytest.approx(0.2, abs=0.03)
    assert max(explained.values()) < 0.005


def test_a_squared_lead_answers_the_size_of_the_move_and_not_its_sign():
    feed = market(PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=2, share=0.2, shape="squared"), stress_multiple=1.0)
    leader, follower = log_returns(feed, BTC).shift(2), log_returns(feed, ETH)
    assert leader.corr(follower) ** 2 < 0.005
    assert (leader**2).corr(follower) ** 2 == pytest.approx(0.2, abs=0.04)


def test_a_lead_between_stocks_counts_consecutive_bars_of_a_session():
    feed = market(PlantedLead(leader="NVDA", follower="AMD", lag=2, share=0.3))
    bars = expected_bars("XNYS", START, LATER)
    leader, follower = log_returns(feed, NVDA), log_returns(feed, AMD)
    session = pd.Series(bars.session_T, index=bars.closed_T)
    inside = session == session.shift(2)
    scale = np.sqrt((bars.closed_T - bars.opened_T) / np.timedelta64(1, "h"))
    leader, follower = leader / scale, follower / scale
    assert leader.shift(2)[inside].corr(follower[inside]) ** 2 == pytest.approx(0.3, abs=0.05)
    assert leader.shift(2)[~inside].corr(follower[~inside]) ** 2 < 0.02


def test_a_lead_from_a_perpetual_to_a_stock_counts_hours_of_the_grid():
    feed = market(PlantedLead(leader="BTCUSDT", follower="AMD", lag=3, share=0.3))
    leader, follower = log_returns(feed, BTC), log_returns(feed, AMD)
    row = follower.index.ceil("h")
    explained = {
        lag: np.corrcoef(leader.reindex(row - pd.Timedelta(hours=lag)).to_numpy(), follower.to_numpy())[0, 1] ** 2
        for lag in (1, 2, 3, 4)
    }
    assert explained.pop(3) == pytest.approx(0.3, abs=0.06)
    assert max(explained.values()) < 0.02


def test_assets_of_one_market_share_a_factor_and_assets_of_two_do_not():
    feed = market(common_share=0.3, stress_multiple=1.0)
    assert log_returns(feed, BTC).corr(log_returns(feed, ETH)) == pytest.approx(0.3, abs=0.03)
    crypto, stock = log_returns(feed, BTC), log_returns(feed, NVDA)
    last_bar = stock[stock.index.minute == 0]
    assert abs(crypto.reindex(last_bar.index).corr(last_bar)) < 0.15


def test_stress_raises_volatility_and_correlation_by_the_planted_multiple():
    feed = market(common_share=0.2, stress_multiple=3.0, mean_regime_days=20)
    spells = feed.truth(LATER)["regimes"]
    starts = pd.DatetimeIndex([spell["start"] for spell in spells])
    returns = pd.DataFrame({"btc": log_returns(feed, BTC), "eth": log_returns(feed, ETH)})
    spell = starts.searchsorted(returns.index, side="left") - 1
    is_stress = np.array([spells[place]["regime"] == "stress" for place in spell])
    calm, stress = returns[~is_stress], returns[is_stress]
    assert stress["btc"].std() / calm["btc"].std() == pytest.approx(3.0, rel=0.05)
    assert calm["btc"].corr(calm["eth"]) == pytest.approx(0.2, abs=0.04)
    assert stress["btc"].corr(stress["eth"]) == pytest.approx(0.6, abs=0.04)


def test_stock_candles_follow_the_exchange_and_the_last_bar_lasts_half_an_hour():
    rows = market().candles(NVDA, START, LATER)
    bars = expected_bars("XNYS", START, LATER)
    assert (rows["opened_at"].to_numpy() == bars.opened_T).all()
    assert (rows["closed_at"].to_numpy() == bars.closed_T).all()
    closing = rows[rows["closed_at"].dt.minute == 0]
    assert len(closing) == rows["closed_at"].dt.date.nunique()
    assert ((closing["closed_at"] - closing["opened_at"]) == pd.Timedelta(minutes=30)).all()


@pytest.mark.parametrize("asset", [BTC, NVDA])
def test_every_simulated_candle_passes_the_lakes_own_rules(asset):
    feed = market(PlantedLead(leader="BTCUSDT", follower="NVDA", lag=1), missing_share=0.05)
    candles = feed.candles(asset, START, LATER)
    verdict = validate_candles(candles, asset, LATER)
    assert verdict.refused.empty
    assert len(verdict.accepted) == len(candles) > 0


def test_missing_candles_are_missing_and_nothing_else_moves():
    whole, holed = (market(missing_share=share).candles(BTC, START, LATER) for share in (0.0, 0.1))
    assert len(holed) / len(whole) == pytest.approx(0.9, abs=0.01)
    there = whole[whole["closed_at"].isin(holed["closed_at"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(there, holed, check_exact=True)


def test_an_outage_takes_every_asset_of_its_venue_and_none_of_the_other():
    whole, cut = market(), market(outages_per_year=200)
    out = {
        asset: set(whole.candles(asset, START, LATER)["closed_at"]) - set(cut.candles(asset, START, LATER)["closed_at"])
        for asset in (BTC, ETH, NVDA, AMD)
    }
    assert len(out[BTC]) == pytest.approx(2 * 200 * 7, rel=0.2)
    assert out[BTC] == out[ETH]
    assert out[NVDA] == out[AMD]
    assert out[NVDA] != set()


def test_funding_settles_every_eight_hours_for_perpetuals_only():
    feed = market()
    rows = feed.funding(BTC, START, LATER)
    assert len(rows) == 3 * 731
    assert set(rows["settled_at"].dt.hour) == {0, 8, 16}
    assert validate_funding(rows, LATER).refused.empty
    assert feed.funding(NVDA, START, LATER).empty


def test_a_candle_that_is_still_open_by_the_clock_is_not_handed_out():
    clock = datetime(2024, 3, 5, 15, 29, 59, tzinfo=UTC)
    feed = SimulatedFeed(SimulatedMarket(), (BTC, NVDA), Period(start=START.date(), end=None), lambda: clock)
    assert feed.candles(BTC, START, LATER)["closed_at"].max() == datetime(2024, 3, 5, 15)
    assert feed.candles(NVDA, START, LATER)["closed_at"].max() == datetime(2024, 3, 4, 21)
    assert (feed.candles(BTC, START, LATER)["fetched_at"] == to_naive(clock)).all()


def test_moving_the_clock_adds_candles_and_changes_none():
    now = {"at": datetime(2024, 2, 1, 5, tzinfo=UTC)}
    feed = SimulatedFeed(SimulatedMarket(), (BTC, ETH), Period(start=START.date(), end=None), lambda: now["at"])
    before = feed.candles(ETH, START, LATER)
    now["at"] = datetime(2024, 6, 1, tzinfo=UTC)
    after = feed.candles(ETH, START, LATER)
    assert len(after) > len(before)
    pd.testing.assert_frame_equal(
        before.drop(columns="fetched_at"), after.head(len(before)).drop(columns="fetched_at"), check_exact=True
    )


def test_the_truth_names_each_planted_lead_and_where_each_regime_starts():
    lead = PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=4)
    absent = PlantedLead(leader="BTCUSDT", follower="SOLUSDT", lag=1)
    feed = market(lead, absent)
    truth = feed.truth(LATER)
    assert planted_truth(SimulatedMarket(leads=(lead, absent)), (BTC, ETH)) == [lead]
    assert [(edge["leader_id"], edge["follower_id"], edge["lag"]) for edge in truth["leads"]] == [
        ("bybit:linear:BTCUSDT", "bybit:linear:ETHUSDT", 4)
    ]
    assert truth["regimes"][0] == {"start": "2024-01-01T00:00:00", "regime": "calm"}
    short = feed.truth(datetime(2024, 8, 1))["regimes"]
    assert truth["regimes"][: len(short)] == short


def test_leads_that_explain_more_than_there_is_are_refused_by_name():
    leads = [PlantedLead(leader=name, follower="ETHUSDT", lag=1, share=0.45) for name in ("BTCUSDT", "NVDA")]
    with pytest.raises(ExperimentError, match="ETHUSDT's variance"):
        market(*leads)


def test_leads_in_a_circle_are_refused_by_name():
    circle = [PlantedLead(leader=a, follower=b, lag=1) for a, b in (("BTCUSDT", "ETHUSDT"), ("ETHUSDT", "BTCUSDT"))]
    with pytest.raises(ExperimentError, match="BTCUSDT, ETHUSDT follow each other in a circle"):
        market(*circle)


def test_a_symbol_outside_the_market_is_refused():
    with pytest.raises(PermanentFeedError, match="not in this simulated market"):
        market(assets=(BTC,)).candles(ETH, START, LATER)
