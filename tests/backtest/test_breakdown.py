"""Every metric of every part: the parts make up the whole, and a part is what the metrics of its own rows say."""

import numpy as np
import pandas as pd
import pytest

from crossattn_core.backtest.breakdown import metrics_by_part
from crossattn_core.backtest.comparison import benchmark_relative
from crossattn_core.backtest.metrics.registry import metrics_of
from crossattn_core.backtest.simulate import simulate
from tests.backtest.markets import market, targets

DONE = simulate(
    on := market(seed=21, rows=24 * 90, closed=0.1, interest=True), targets(on, gross=0.7), execution_lag=1, capital=1e5
)
OTHER = simulate(on, targets(on, seed=5), execution_lag=1, capital=1e5)
NET = DONE.equity_T[-1] / DONE.capital - 1
FIRST = pd.Timestamp(DONE.as_of_T[0]).normalize()
WINDOWS = pd.DataFrame({"regime": [0, 1, 0], "confirmed": [FIRST, FIRST + pd.Timedelta(days=20), FIRST + pd.Timedelta(days=50)]})
PARTS = metrics_by_part(
    DONE, OTHER, regime_windows=WINDOWS, groups={"venue": ["a", "b", "a", "b"], "all": ["all"] * 4, "asset": ["w", "x", "y", "z"]}
)


def of_kind(kind: str) -> pd.DataFrame:
    return PARTS[PARTS["kind"] == kind].set_index("part")


@pytest.mark.parametrize("kind", ["year", "month", "regime"])
def test_parts_of_the_time_compound_to_the_whole(kind):
    frame, whole = of_kind(kind), metrics_of(DONE)
    assert np.prod(1 + frame["net_return"]) == pytest.approx(1 + NET)
    assert frame["net_contribution"].sum() == pytest.approx(NET)
    assert frame["days"].sum() == pytest.approx(whole.days)
    assert frame["trades"].sum() == whole.trades
    assert (frame["turnover_per_day"] * frame["days"]).sum() == pytest.approx(whole.turnover_per_day * whole.days)
    assert np.prod(1 + frame["benchmark_return"]) == pytest.approx(OTHER.equity_T[-1] / OTHER.capital)


@pytest.mark.parametrize("kind", ["venue", "all", "asset"])
def test_parts_of_the_universe_add_up_to_the_whole(kind):
    frame, whole = of_kind(kind), metrics_of(DONE)
    interest = -DONE.costs["interest"].sum() / DONE.capital
    assert frame["net_contribution"].sum() == pytest.approx(NET - interest)
    assert frame["trades"].sum() == whole.trades
    assert frame["turnover_per_day"].sum() == pytest.approx(whole.turnover_per_day)
    assert frame["assets"].sum() == 4
    for kind_of_cost in DONE.asset_cost_lines:
        paid = (DONE.asset_line_TN(kind_of_cost)[1:].sum(axis=1) / DONE.equity_T[:-1]).sum()
        assert frame[f"{kind_of_cost}_share"].sum() == pytest.approx(paid, abs=1e-12)


def test_a_month_is_what_its_own_rows_say():
    month = of_kind("month").iloc[1]
    inside_T = (DONE.as_of_T - np.timedelta64(1, "us")).astype("datetime64[M]").astype(str) == month.name
    inside_T[0] = False
    return_T = DONE.return_T[inside_T]
    assert month["sharpe"] == pytest.approx(return_T.mean() / return_T.std(ddof=1) * np.sqrt(8760))
    day_return = pd.Series(1 + return_T).groupby(np.arange(len(return_T)) // 24).prod() - 1
    assert len(day_return) == month["days"]
    assert month["hit_rate"] == pytest.approx((day_return > 0).mean())
    edge = np.percentile(day_return, 5)
    assert month["value_at_risk"] == pytest.approx(-edge)
    assert month["expected_shortfall"] == pytest.approx(-day_return[day_return <= edge].mean())
    grown = np.cumprod(np.append(1.0, 1 + return_T))
    assert month["max_drawdown"] == pytest.approx((grown / np.maximum.accumulate(grown) - 1).min())
    assert month["average_gross_exposure"] == pytest.approx(DONE.gross_exposure_T[inside_T].mean())
    against = benchmark_relative(return_T, OTHER.return_T[inside_T], periods_per_day=24)
    assert (month["beta"], month["information_ratio"]) == pytest.approx((against.beta, against.information_ratio))


def test_one_part_of_everything_has_the_metrics_of_the_whole():
    # Where cash earns nothing, the positions alone are the account.
    bare = market(seed=22, rows=24 * 90, closed=0.1)
    done = simulate(bare, targets(bare), execution_lag=1, capital=1e5)
    frame = metrics_by_part(done, None, regime_windows=None, groups={"all": ["all"] * 4})
    part, whole = frame[frame["kind"] == "all"].iloc[0], metrics_of(done)
    for name in ("net_return", "annual_volatility", "sharpe", "sortino", "max_drawdown", "skew", "profit_factor", "tail_ratio"):
        assert part[name] == pytest.approx(getattr(whole, name), rel=1e-9), name


def test_without_benchmark_and_regimes_the_rest_is_there():
    frame = metrics_by_part(DONE, None, regime_windows=None, groups={})
    assert set(frame["kind"]) == {"year", "month"}
    assert "beta" not in frame


def test_a_simulation_of_one_row_has_no_parts():
    short = market(seed=3, rows=4)
    done = simulate(short, targets(short, first=3), execution_lag=1, capital=1e5)
    assert metrics_by_part(done, None, regime_windows=None, groups={"all": ["all"] * 4}).empty
