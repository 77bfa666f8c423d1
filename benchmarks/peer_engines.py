"""The simulator's case in other engines, each in an environment of its own (see bench_backtest.py --peers).

    /peers/bin/python -m benchmarks.peer_engines case.npz vectorbt

Reads price_TN, fill_K, weight_KN, time_T and costs from the file; prints one JSON line: version, CPU seconds (best of several
runs after one that warms up on a small case), and writes equity by cost into equity_<engine>.npz beside the case.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

CAPITAL = 1e5


def by_vectorbt(price_TN, time_T, fill_K, weight_KN, cost):
    """Orders to target percentages of the group's value, sells first, fees from cash."""
    import vectorbt as vbt

    close = pd.DataFrame(price_TN, index=pd.DatetimeIndex(time_T))
    size = pd.DataFrame(np.nan, index=close.index, columns=close.columns)
    size.iloc[fill_K] = weight_KN
    done = vbt.Portfolio.from_orders(
        close, size, size_type="targetpercent", group_by=True, cash_sharing=True, call_seq="auto", fees=cost,
        init_cash=CAPITAL, freq="1h",
    )  # fmt: skip
    return done.value().to_numpy()


def by_bt(price_TN, time_T, fill_K, weight_KN, cost):
    """Each asset pays its own commission out of the strategy's cash."""
    import bt

    close = pd.DataFrame(price_TN, index=pd.DatetimeIndex(time_T), columns=[f"A{n}" for n in range(price_TN.shape[1])])
    weight = pd.DataFrame(weight_KN, index=close.index[fill_K], columns=close.columns)
    strategy = bt.Strategy("bench", [bt.algos.RunOnDate(*weight.index), bt.algos.WeighTarget(weight), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy, close, integer_positions=False, commissions=lambda units, price: abs(units) * price * cost,
        initial_capital=CAPITAL, progress_bar=False,
    )  # fmt: skip
    bt.run(test)
    return test.strategy.values.to_numpy()[1:]


def by_skfolio(price_TN, time_T, fill_K, weight_KN, cost):
    """One portfolio a segment; weights do not drift inside a segment, costs are spread over its bars."""
    from skfolio import MultiPeriodPortfolio, Portfolio

    returns = pd.DataFrame(price_TN, index=pd.DatetimeIndex(time_T)).pct_change().fillna(0.0)
    rows = [*fill_K.tolist(), len(returns)]
    parts, before = [], np.zeros(price_TN.shape[1])
    for weight_N, row, stop in zip(weight_KN, rows[:-1], rows[1:], strict=True):
        segment = returns.iloc[row + 1 : stop + 1]
        if len(segment) > 1:
            parts.append(Portfolio(segment, weight_N, previous_weights=before, transaction_costs=cost / len(segment)))
        before = weight_N
    return CAPITAL * np.cumprod(1.0 + np.asarray(MultiPeriodPortfolio(parts).returns))


ENGINES = {"vectorbt": (by_vectorbt, 3), "skfolio": (by_skfolio, 1), "bt": (by_bt, 1)}


def main() -> None:
    """Measure one engine on the case."""
    warnings.filterwarnings("ignore")
    path, name = Path(sys.argv[1]), sys.argv[2]
    run, times = ENGINES[name]
    with np.load(path) as case:
        price_TN, time_T, fill_K, weight_KN, cost = (case[key] for key in ("price_TN", "time_T", "fill_K", "weight_KN", "cost"))
    few = 240
    early_K = fill_K < few
    run(price_TN[:few], time_T[:few], fill_K[early_K], weight_KN[early_K], float(cost))  # compile and import first
    least, equity_T = float("inf"), np.empty(0)
    for _ in range(times):
        begin = time.process_time()
        equity_T = run(price_TN, time_T, fill_K, weight_KN, float(cost))
        least = min(least, time.process_time() - begin)
    np.savez(path.with_name(f"equity_{name}.npz"), costly=equity_T, free=run(price_TN, time_T, fill_K, weight_KN, 0.0))
    print(json.dumps({"engine": name, "version": version(name), "cpu_seconds": least}))


if __name__ == "__main__":
    main()
