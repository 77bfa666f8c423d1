"""What a simulation costs, beside other engines where they are installed, and whether they agree.

    python benchmarks/bench_backtest.py            # this engine alone
    pip install vectorbt bt skfolio                # in an environment of its own: then they are measured in the same run

CPU seconds, best of several, one thread. Every engine trades the same targets at the same closes. Without costs they must
agree; with costs each has its own settlement, and the difference of the final equity is printed.
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from crossattn_core.backtest.market import Market
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.simulate import simulate, simulate_many
from crossattn_core.portfolio.targets import Targets

HOUR = np.timedelta64(1, "h")


def case(rows: int, assets: int, every: int = 24, cost: float = 1e-3, seed: int = 0) -> tuple[Market, Targets]:
    """Long-only targets, restored every ``every`` rows from the second row on."""
    draw = np.random.default_rng(seed)
    price_TN = 100.0 * np.exp(np.cumsum(0.005 * draw.standard_normal((rows, assets)), axis=0))
    nothing_N = np.zeros(assets)
    market = Market(
        as_of_T=np.datetime64("2020-01-01T01:00", "us") + np.arange(rows) * HOUR,
        asset_ids=tuple(f"bybit:linear:A{asset}" for asset in range(assets)),
        price_TN=price_TN,
        tradable_TN=np.ones((rows, assets), dtype=bool),
        funding_TN=None,
        fee_N=nothing_N + cost,
        half_spread_N=nothing_N,
        slippage_N=nothing_N,
        borrow_N=nothing_N,
    )
    decided = np.arange(0, rows - 1, every)
    weight_DN = np.abs(draw.standard_normal((len(decided), assets)))
    weight_DN /= weight_DN.sum(axis=1, keepdims=True)
    return market, Targets("bench", market.asset_ids, market.as_of_T[decided], weight_DN)


def best_cpu(run: Callable[[], object], times: int) -> tuple[float, object]:
    """Least CPU seconds of ``times`` runs, and what the last one gave."""
    least, given = float("inf"), None
    for _ in range(times):
        begin = time.process_time()
        given = run()
        least = min(least, time.process_time() - begin)
    return least, given


def ours(market: Market, targets: Targets) -> np.ndarray:
    """Equity by row."""
    return simulate(market, targets, execution_lag=1, capital=1e5).equity_T


def by_vectorbt(market: Market, targets: Targets) -> np.ndarray:
    """Equity by row: orders to target percentages of the group's value, sells first, fees from cash."""
    import vectorbt as vbt

    close = pd.DataFrame(market.price_TN, index=pd.DatetimeIndex(market.as_of_T))
    size = pd.DataFrame(np.nan, index=close.index, columns=close.columns)
    size.iloc[targets.rows(market.as_of_T) + 1] = targets.target_DN
    done = vbt.Portfolio.from_orders(
        close, size, size_type="targetpercent", group_by=True, cash_sharing=True, call_seq="auto", fees=float(market.fee_N[0]),
        init_cash=1e5, freq="1h",
    )  # fmt: skip
    return done.value().to_numpy()


def by_bt(market: Market, targets: Targets) -> np.ndarray:
    """Equity by row: each asset pays its own commission out of the strategy's cash."""
    import bt

    close = pd.DataFrame(market.price_TN, index=pd.DatetimeIndex(market.as_of_T), columns=list(market.asset_ids))
    weight = pd.DataFrame(targets.target_DN, index=close.index[targets.rows(market.as_of_T) + 1], columns=close.columns)
    strategy = bt.Strategy("bench", [bt.algos.RunOnDate(*weight.index), bt.algos.WeighTarget(weight), bt.algos.Rebalance()])
    cost = float(market.fee_N[0])
    test = bt.Backtest(
        strategy, close, integer_positions=False, commissions=lambda units, price: abs(units) * price * cost, initial_capital=1e5
    )
    bt.run(test)
    return test.strategy.values.to_numpy()[1:]


def by_skfolio(market: Market, targets: Targets) -> np.ndarray:
    """Equity by row, as one portfolio a segment; its weights do not drift inside a segment, costs are spread over its bars."""
    from skfolio import MultiPeriodPortfolio, Portfolio

    returns = pd.DataFrame(market.price_TN, index=pd.DatetimeIndex(market.as_of_T)).pct_change().fillna(0.0)
    rows = [*(targets.rows(market.as_of_T) + 1), len(returns)]
    parts, before = [], np.zeros(len(market.asset_ids))
    for weight_N, row, stop in zip(targets.target_DN, rows[:-1], rows[1:], strict=True):
        if stop - row > 1:
            segment = returns.iloc[row + 1 : stop + 1] if stop < len(returns) else returns.iloc[row + 1 :]
            parts.append(
                Portfolio(segment, weight_N, previous_weights=before, transaction_costs=float(market.fee_N[0]) / len(segment))
            )
        before = weight_N
    return 1e5 * np.cumprod(1.0 + np.asarray(MultiPeriodPortfolio(parts).returns))


def compare(times: int) -> None:
    """Twenty assets, two years, 730 rebalances: every engine that is here."""
    market, targets = case(17_520, 20)
    free, _ = case(17_520, 20, cost=0.0)
    first = int(targets.rows(market.as_of_T)[0])
    own_cpu, own = best_cpu(lambda: ours(market, targets), max(times, 5))
    own, own_free = np.asarray(own), ours(free, targets)
    loop_cpu, loop = best_cpu(lambda: simulate_by_loop(market, targets, execution_lag=1, capital=1e5)[0], 1)
    print("\n20 assets x 17,520 rows, 730 rebalances, 10 bps")
    print(f"{'engine':26}{'CPU s':>10}{'ratio':>9}{'free: max difference':>23}{'10 bps: final equity':>23}")
    print(f"{'segment algebra (ours)':26}{own_cpu:10.4f}{1:9.1f}{0:23.1e}{0:+23.1e}")
    apart = float(np.abs(np.asarray(loop) / own - 1).max())
    print(f"{'readable loop (ours)':26}{loop_cpu:10.3f}{loop_cpu / own_cpu:9.0f}{'':23}{apart:+23.1e}")
    engines = {"vectorbt": (by_vectorbt, 3), "skfolio": (by_skfolio, 1), "bt": (by_bt, 1)}
    for name, (engine, runs) in engines.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name:26}{'not installed':>19}")
            continue
        engine(*case(240, 3))  # compile and import before the clock starts
        cpu, equity = best_cpu(lambda engine=engine: engine(market, targets), runs)
        equity_T, free_T = np.asarray(equity), np.asarray(engine(free, targets))
        offset = len(own) - len(equity_T)
        difference = float(np.abs(free_T / own_free[first + offset :] - 1).max())
        print(f"{name:26}{cpu:10.3f}{cpu / own_cpu:9.0f}{difference:23.1e}{equity_T[-1] / own[-1] - 1:+23.1e}")


def scale(times: int, variants: int) -> None:
    """Larger cases, ours alone."""
    market, targets = case(43_800, 500)
    print(f"\n{'case (ours)':44}{'CPU s':>10}")
    print(f"{'500 assets x 43,800 rows, 1,825 rebalances':44}{best_cpu(lambda: ours(market, targets), times)[0]:10.3f}")
    market, targets = case(17_520, 20)
    left_DN = np.where(np.random.default_rng(1).random(targets.target_DN.shape) < 0.3, np.nan, targets.target_DN)
    banded = Targets("banded", targets.asset_ids, targets.as_of_D, left_DN)
    print(f"{'20 x 17,520, 30% of targets left alone':44}{best_cpu(lambda: ours(market, banded), times)[0]:10.3f}")
    rolled = [
        Targets(str(shift), targets.asset_ids, targets.as_of_D, np.roll(targets.target_DN, shift, axis=0))
        for shift in range(variants)
    ]
    cpu = best_cpu(lambda: simulate_many(market, rolled, execution_lag=1, capital=1e5), 2)[0]
    print(f"{f'20 x 17,520, {variants:,} variants in one batch':44}{cpu:10.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="runs of which the best counts")
    parser.add_argument("--variants", type=int, default=1000)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    compare(chosen.times)
    scale(chosen.times, chosen.variants)
