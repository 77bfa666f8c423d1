"""The gate on recorded candles: leads of a minute are named, schedules and shuffled days are not."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

from benchmarks.planted.markets import PLANTED_FEATURES, planted_experiment
from crossattn_core.analysis.lead_lag import LeadLag, lead_lag
from crossattn_core.analysis.lead_selection import MAX_CONDITIONAL_P, select_leads
from crossattn_core.analysis.leader_groups import MARKET, LeaderGroup
from crossattn_core.analysis.leaders import Trading, name_leads
from crossattn_core.analysis.snapshot import next_bar_frame, summarise
from crossattn_core.analysis.stored_edges import window_edges
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.fitted_network import FittedNetwork
from crossattn_core.families.registry import fit_model
from crossattn_core.panel.labels import next_bar_labels
from crossattn_core.panel.panel import Panel
from crossattn_core.stats.returns import log_returns
from crossattn_core.stats.scaled_returns import volatility_scaled
from tests.recorded import RECORDED, needs_recorded

pytestmark = needs_recorded
MINUTES_A_DAY, FIVE_MINUTES_A_DAY = 1440, 288


def _candles(folder: str) -> dict[str, pd.DataFrame]:
    """Column -> candles by symbol, in the rows that every symbol has."""
    files = sorted((RECORDED / folder).glob("*.parquet"))
    tables = {path.stem: pd.read_parquet(path).set_index("timestamp") for path in files}
    columns = {
        name: pd.DataFrame({symbol: table[name] for symbol, table in tables.items()}) for name in ("open", "close", "volume")
    }
    known = columns["close"].notna().all(axis=1)
    return {name: table[known] for name, table in columns.items()}


def _tested(scaled_TN: np.ndarray, symbols: tuple[str, ...], bars_a_day: int) -> LeadLag:
    groups = (LeaderGroup(MARKET, tuple(range(len(symbols)))),)
    return lead_lag(scaled_TN, symbols, max_lag=24, permutations=200, groups=groups, bars_per_day=bars_a_day)


def _in_returns(tested: LeadLag, symbols: tuple[str, ...]) -> pd.DataFrame:
    found = select_leads(tested, symbols, symbols, 0.05)
    return found[(found["conditional_p"] <= MAX_CONDITIONAL_P) & (found["beside"] == "")]


def test_at_a_minute_the_market_or_its_members_lead_slow_coins_by_one_bar() -> None:
    close = _candles("binance_1m")["close"]
    symbols = tuple(close.columns)
    found = _in_returns(_tested(volatility_scaled(log_returns(close.to_numpy())), symbols, MINUTES_A_DAY), symbols)
    assert {"TRXUSDT", "ADAUSDT", "BNBUSDT", "DOTUSDT"} <= set(found["follower"])
    assert set(found["lag"]) == {1}
    assert (found["correlation"].abs() < 0.1).all()
    assert (MARKET, "TRXUSDT") in set(zip(found["leader"], found["follower"], strict=True))


@pytest.mark.parametrize("seed", range(2))
def test_none_is_left_when_days_are_shuffled_against_each_other(seed: int) -> None:
    close = _candles("binance_1m")["close"]
    symbols = tuple(close.columns)
    scaled_TN = volatility_scaled(log_returns(close.to_numpy()))
    order_ND = _orders_without_common_days(len(symbols), len(scaled_TN) // MINUTES_A_DAY, np.random.default_rng(seed))
    shuffled_TN = _in_order(scaled_TN, order_ND)
    assert _in_returns(_tested(shuffled_TN, symbols, MINUTES_A_DAY), symbols).empty


def _orders_without_common_days(assets: int, days: int, generator: np.random.Generator) -> np.ndarray:
    """(N, D) an order of days for each asset, drawn one place after another so that no two assets meet on their own day.

    Where two orders gave one place the same day, real leads would be left there: of 30 days shuffled independently, one for each
    pair on average.
    """
    order_ND = np.full((assets, days), -1)
    for n in range(assets):
        # A random perfect matching of places and days, over the pairs that no earlier asset has taken.
        cost_DD = generator.random((days, days))
        for earlier in range(n):
            cost_DD[np.arange(days), order_ND[earlier]] = days
        order_ND[n] = linear_sum_assignment(cost_DD)[1]
    assert all(len(set(of_place)) == assets for of_place in order_ND.T)
    return order_ND


def _in_order(value_TN: np.ndarray, order_ND: np.ndarray) -> np.ndarray:
    by_day_DXN = value_TN[: order_ND.shape[1] * MINUTES_A_DAY].reshape(order_ND.shape[1], MINUTES_A_DAY, -1)
    return np.stack([by_day_DXN[order_D, :, n].ravel() for n, order_D in enumerate(order_ND)], axis=1)


def test_at_five_minutes_a_coins_own_hourly_schedule_is_no_lead() -> None:
    close = _candles("bybit_5m")["close"]
    symbols = tuple(close.columns)
    tested = _tested(volatility_scaled(log_returns(close.to_numpy())), symbols, FIVE_MINUTES_A_DAY)
    assert tested.correlation_KLMN[0, 11, 0, 1:5].min() > 0.02
    assert tested.pairs["q_value"].min() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_the_whole_gate_names_leads_of_a_minute_that_nobody_who_pays_can_trade(seed: int) -> None:
    candles = _candles("binance_1m")
    panel, open_TN = _panel(candles), candles["open"].to_numpy()
    symbols = tuple(candles["close"].columns)
    experiment = planted_experiment(panel, {"model": {"lag_prior": 2.0}})
    bars = len(panel.as_of_T)
    model = fit_model("attention", FitRequest(panel, int(0.8 * bars), np.ones(bars, dtype=np.float32), seed), experiment)
    assert isinstance(model, FittedNetwork)
    held_R = np.arange(int(0.8 * bars) + 1, bars - 1)
    weights = model.attention(panel, held_R[:: len(held_R) // 48])
    assert weights is not None
    edges = summarise(weights, panel.as_of_T[-1].astype("datetime64[D]").item(), model.model_id).to_frame()
    forecasts = model.forecast_next_bar(panel, held_R), model.forecast_without_others(panel, held_R)
    next_bar = next_bar_frame(panel, held_R, *forecasts, model.model_id)
    tested = _tested(volatility_scaled(log_returns(np.asarray(panel.trade_price_TN))), panel.asset_ids, MINUTES_A_DAY)
    table = name_leads(
        panel,
        next_bar_labels(panel),
        tested,
        window_edges([edges], panel.asset_ids),
        next_bar,
        experiment.assets,
        experiment.analysis,
        experiment.backtest,
        Trading(open_TN, np.full(len(symbols), 5.5)),
    )
    named = table[table["named"]]
    assert len(named) >= 4
    assert named["follower"].nunique() >= 4
    assert set(named["lag"]) == {1}
    assert (named["ic_gain_low"] > 0).all()
    assert named["next_trade_share"].between(0.5, 1.1).all()
    assert (named["gross_bps"] < 1).all()
    assert not named["tradable"].any()
    assert named["why"].str.contains("proven, not tradable").all()


def _panel(candles: dict[str, pd.DataFrame]) -> Panel:
    """The planted markets' features of real candles. The panel's grid is hourly by name: nothing here reads instants."""
    open_TN, close_TN, volume_TN = (candles[name].to_numpy(dtype=np.float64) for name in ("open", "close", "volume"))
    bars, assets = close_TN.shape
    return_TN = np.nan_to_num(log_returns(close_TN))
    usual_TN = pd.DataFrame(volume_TN).rolling(MINUTES_A_DAY, min_periods=5).mean().to_numpy()
    feature_TNF = np.stack(
        [
            return_TN,
            np.log(close_TN / open_TN),
            np.abs(return_TN),
            np.log1p(volume_TN / usual_TN),
            np.sqrt(pd.DataFrame(return_TN**2).rolling(60, min_periods=5).mean().to_numpy()),
            pd.DataFrame(return_TN).rolling(24, min_periods=1).sum().to_numpy(),
        ],
        axis=-1,
    )
    return Panel(
        as_of_T=np.datetime64("2024-01-01T01:00:00", "us") + np.arange(bars) * np.timedelta64(1, "h"),
        asset_ids=tuple(f"bybit:linear:{symbol}" for symbol in candles["close"].columns),
        features=PLANTED_FEATURES,
        feature_TNF=np.nan_to_num(feature_TNF).astype(np.float32),
        trade_price_TN=close_TN,
        mark_price_TN=close_TN,
        is_fresh_TN=np.ones((bars, assets), dtype=bool),
        age_hours_TN=np.zeros((bars, assets), dtype=np.float32),
        quote_volume_TN=volume_TN * close_TN,
        funding_rate_TN=np.full((bars, assets), np.nan),
        content_hash="recorded",
    )
