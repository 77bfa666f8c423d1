"""A backtest in a notebook: markets and targets of pandas frames, and what does not fit refused with the remedy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crossattn_core.backtest.costs.holding import Funding, Interest
from crossattn_core.backtest.costs.trading import Fee, HalfSpread, SquareRootImpact
from crossattn_core.backtest.market import Market
from crossattn_core.backtest.metrics.registry import metrics_of
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.simulate import simulate, simulate_many
from crossattn_core.errors import BacktestError
from crossattn_core.portfolio.target_weights import Targets
from tests.backtest.markets import market, targets

HOURS = pd.date_range("2026-01-01", periods=6, freq="h")


def closes() -> pd.DataFrame:
    return pd.DataFrame(
        {"BTC": [100.0, 100.0, 110.0, 99.0, 99.0, 99.0], "ETH": [10.0, 20.0, 20.0, 20.0, 20.0, 40.0]}, index=HOURS
    )


def weights(btc: float = 1.0, eth: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"BTC": [btc], "ETH": [eth]}, index=HOURS[:1])


def equity(close: pd.DataFrame, decided: pd.DataFrame, cost_bps: float = 0.0) -> list[float]:
    on, chosen = Market.of_frame(close, cost_bps), Targets.of_frame("mine", decided)
    return simulate(on, chosen, execution_lag=1, capital=1_000.0).equity_T.tolist()


def test_five_lines_on_a_frame_of_closes_are_a_backtest() -> None:
    on = Market.of_frame(closes(), cost_bps=100.0)
    chosen = Targets.of_frame("mine", weights(btc=1.0))
    done = simulate(on, chosen, execution_lag=1, capital=1_000.0)
    # Bought at the close of the second row: V+ (1 + 1%) = V.
    after = 1_000.0 / 1.01
    np.testing.assert_allclose(done.equity_T, [1_000.0, after, 1.1 * after, 0.99 * after, 0.99 * after, 0.99 * after], rtol=1e-14)
    assert metrics_of(done)["net_return"] == pytest.approx(0.99 / 1.01 - 1)


@pytest.mark.parametrize(
    "made",
    [
        lambda frame: frame.tz_localize("UTC"),
        lambda frame: frame.tz_localize("UTC").tz_convert("Asia/Tokyo"),
        lambda frame: frame.astype(object),
        lambda frame: frame.astype("Float64"),
        lambda frame: frame.astype("double[pyarrow]"),
        lambda frame: frame.set_axis(frame.index.as_unit("ns")),
    ],
    ids=["UTC", "Tokyo", "object", "Float64", "Arrow", "nanoseconds"],
)
def test_another_time_zone_or_kind_of_number_is_the_same_backtest(made) -> None:
    assert equity(made(closes()), made(weights(0.5, 0.5)), 10.0) == equity(closes(), weights(0.5, 0.5), 10.0)
    assert Targets.of_frame("mine", made(weights())).content_hash == Targets.of_frame("mine", weights()).content_hash


def test_an_asset_listed_late_is_not_bought_before_and_one_that_ends_keeps_its_mark() -> None:
    late = closes()
    late.loc[HOURS[:3], "ETH"] = np.nan
    assert equity(late, weights(0.0, 1.0)) == [1_000.0] * 6
    twice = pd.concat([weights(0.0, 1.0), weights(0.0, 1.0).set_axis(HOURS[3:4])])
    assert equity(late, twice) == [1_000.0] * 5 + [2_000.0]
    ends = closes()
    ends.loc[HOURS[2:], "BTC"] = np.nan
    assert equity(ends, weights(1.0)) == [1_000.0] * 6


def test_a_days_rows_are_annualised_as_days() -> None:
    daily = closes().set_axis(pd.date_range("2026-01-01", periods=6, freq="D"))
    assert (Market.of_frame(daily).grid.bar, Market.of_frame(closes()).grid.bar) == ("1d", "1h")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda frame: frame["BTC"], "closes: a Series; give a pandas DataFrame"),
        (lambda frame: frame.reset_index(drop=True), "rows are indexed by RangeIndex"),
        (lambda frame: frame.stack().to_frame(), "rows are indexed by MultiIndex.*pivot a long frame"),
        (lambda frame: pd.concat({"close": frame}, axis=1), "columns by 2 levels"),
        (lambda frame: frame.iloc[::-1], "not in time order"),
        (lambda frame: pd.concat([frame, frame]).sort_index(), "not in time order, or repeat"),
        (lambda frame: pd.concat([frame, frame], axis=1), r"columns repeat: \['BTC', 'ETH'\]"),
        (lambda frame: frame.assign(venue="bybit"), "columns that hold no numbers"),
        (lambda frame: frame.assign(at=HOURS), r"no numbers: \[\('at', 'datetime64"),
        (lambda frame: frame.drop(HOURS[2]), r"5 rows, 1 of them after a gap.*close.asfreq"),
        (lambda frame: frame.iloc[:1], "1 rows, 0 of them after a gap; rows are one bar apart, two at least"),
        (
            lambda frame: frame.set_axis(pd.date_range("2026", periods=6, freq="7min")),
            "rows are 0:07:00 apart; a bar is one of 1m",
        ),
        (lambda frame: -frame, r"BTC: price -100.0 at 2026-01-01T00:00:00.000000 \(12 such in all\)"),
        (lambda frame: frame.replace(20.0, np.inf), "ETH: price inf at 2026-01-01T01:00"),
    ],
)
def test_closes_that_are_no_market_are_refused_with_the_remedy(made, message: str) -> None:
    with pytest.raises(BacktestError, match=message):
        Market.of_frame(made(closes()))


ON = market(seed=1, rows=60, assets=3, closed=0.0)
CHOSEN = targets(ON, left_alone=0.0)


@pytest.mark.parametrize("capital", [0, -1.0, float("nan"), float("inf"), "1e5", None, True])
def test_capital_that_is_no_money_is_refused_by_every_engine(capital) -> None:
    for engine, chosen in ((simulate, CHOSEN), (simulate_by_loop, CHOSEN), (simulate_many, [CHOSEN])):
        with pytest.raises(BacktestError, match=r"capital is .*; it is the equity to begin with"):
            engine(ON, chosen, execution_lag=1, capital=capital)


@pytest.mark.parametrize("lag", [0, -1, 1.0, 1.5, "1", None, True])
def test_a_lag_that_is_no_number_of_rows_is_refused_by_every_engine(lag) -> None:
    for engine, chosen in ((simulate, CHOSEN), (simulate_by_loop, CHOSEN), (simulate_many, [CHOSEN])):
        with pytest.raises(BacktestError, match="execution_lag is"):
            engine(ON, chosen, execution_lag=lag, capital=1e5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target_DN": CHOSEN.target_DN.tolist()}, "random: target weights are list; an array of numbers"),
        ({"target_DN": pd.DataFrame(CHOSEN.target_DN)}, "target weights are DataFrame"),
        ({"target_DN": CHOSEN.target_DN.astype(object)}, "target weights are object"),
        ({"as_of_D": pd.DatetimeIndex(CHOSEN.as_of_D).tz_localize("UTC")}, r"decisions are object.*tz_convert\(None\)"),
        ({"as_of_D": np.arange(len(CHOSEN.as_of_D))}, "decisions are int64; as_of_D is naive UTC datetime64"),
        ({"as_of_D": CHOSEN.as_of_D[[0, 0, 1]]}, "not in increasing order of time"),
        ({"asset_ids": ("a", "a", "b")}, "weights for an asset twice among a, a, b"),
    ],
)
def test_targets_that_are_none_are_refused_by_name(wrong: dict, message: str) -> None:
    with pytest.raises(BacktestError, match=message):
        replace(CHOSEN, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"price_TN": ON.price_TN[:-1]}, r"price_TN is float64 \(59, 3\); an array of numbers \(60, 3\) is needed"),
        ({"price_TN": ON.price_TN.T}, r"price_TN is float64 \(3, 60\)"),
        ({"price_TN": pd.DataFrame(ON.price_TN)}, "price_TN is DataFrame"),
        ({"tradable_TN": ON.tradable_TN[:, :1]}, r"tradable_TN is bool \(60, 1\); an array of bool \(60, 3\)"),
        ({"tradable_TN": ON.tradable_TN * np.nan}, r"tradable_TN is float64"),
        ({"delisted_TN": ON.tradable_TN[:5]}, r"delisted_TN is bool \(5, 3\)"),
        ({"as_of_T": ON.as_of_T[::-1]}, "rows are not in increasing order of time"),
        ({"as_of_T": ON.as_of_T[np.arange(60) // 2]}, "rows are not in increasing order of time"),
        ({"as_of_T": pd.DatetimeIndex(ON.as_of_T).tz_localize("UTC")}, "rows are object; as_of_T is naive UTC datetime64"),
        ({"margin_leverage": float("nan")}, "margin_leverage is nan"),
        ({"margin_leverage": -1.0}, "margin_leverage is -1.0"),
        ({"costs": ("fee",)}, "'fee' among the costs is none"),
        ({"costs": (Fee,)}, "among the costs is none"),
        ({"costs": (Interest(float("nan")),)}, "interest: rate is nan; a rate is finite"),
        ({"costs": (Interest(np.zeros(3)),)}, r"interest: rate has shape \(3,\); it is one number"),
        ({"costs": (Funding(pd.DataFrame(ON.price_TN)),)}, "funding: rate_TN is a DataFrame; give an array"),
        ({"costs": (SquareRootImpact(-ON.price_TN),)}, "A0: impact -.* an impact is finite and not negative"),
        ({"costs": (Fee(np.full(3, -2e-3)), HalfSpread(np.full(3, 1e-3)))}, "A0: fee, spread and slippage sum to -10 bps"),
    ],
)  # fmt: skip
def test_markets_that_are_none_are_refused_by_name(wrong: dict, message: str) -> None:
    with pytest.raises(BacktestError, match=message):
        replace(ON, **wrong)


def test_a_rebate_lowers_what_a_trade_costs_in_both_engines() -> None:
    rebated = ON.with_costs(Fee(np.full(3, -2e-4)), HalfSpread(np.full(3, 5e-4)))
    plain = ON.with_costs(Fee(np.full(3, 1e-4)), HalfSpread(np.full(3, 2e-4)))
    done = simulate(rebated, CHOSEN, execution_lag=1, capital=1e5)
    np.testing.assert_allclose(done.equity_T, simulate(plain, CHOSEN, execution_lag=1, capital=1e5).equity_T, rtol=1e-13)
    by_loop_T, _, paid = simulate_by_loop(rebated, CHOSEN, execution_lag=1, capital=1e5)
    np.testing.assert_allclose(done.equity_T, by_loop_T, rtol=1e-12)
    np.testing.assert_allclose(done.costs["fee"], paid["fee"], rtol=1e-9)
    assert (done.costs["fee"] <= 0).all()
    assert done.costs["fee"].min() < 0


def test_assets_in_a_list_are_the_same_assets() -> None:
    listed = replace(CHOSEN, asset_ids=list(CHOSEN.asset_ids))
    expected_T = simulate(ON, CHOSEN, execution_lag=1, capital=1e5).equity_T
    np.testing.assert_array_equal(simulate(ON, listed, execution_lag=1, capital=1e5).equity_T, expected_T)
