"""What a simulation costs, beside other engines in an environment of their own, and whether they agree.

    python -m benchmarks.bench_backtest                                  # this engine alone
    python -m venv peers && peers/bin/pip install vectorbt bt skfolio
    python -m benchmarks.bench_backtest --peers peers/bin/python         # all of them in one run, on the same arrays

CPU seconds, best of several, one thread. Every engine trades the same targets at the same closes. Without costs they must
agree; with costs each has its own settlement, and the difference of the final equity is printed.
"""

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crossattn_core.backtest.costs.trading import Fee
from crossattn_core.backtest.market import Market
from crossattn_core.backtest.reference import simulate_by_loop
from crossattn_core.backtest.simulate import simulate, simulate_many
from crossattn_core.portfolio.target_weights import Targets

HOUR = np.timedelta64(1, "h")
PEERS = ("vectorbt", "skfolio", "bt")


def case(rows: int, assets: int, every: int = 24, cost: float = 1e-3, seed: int = 0) -> tuple[Market, Targets]:
    """Long-only targets, restored every ``every`` rows from the second row on."""
    draw = np.random.default_rng(seed)
    price_TN = 100.0 * np.exp(np.cumsum(0.005 * draw.standard_normal((rows, assets)), axis=0))
    market = Market(
        as_of_T=np.datetime64("2020-01-01T01:00", "us") + np.arange(rows) * HOUR,
        asset_ids=tuple(f"bybit:linear:A{asset}" for asset in range(assets)),
        price_TN=price_TN,
        tradable_TN=np.ones((rows, assets), dtype=bool),
        costs=(Fee(np.full(assets, cost)),),
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


def peer(python: Path, name: str, market: Market, targets: Targets, folder: Path) -> tuple[dict, np.ndarray, np.ndarray]:
    """One engine in another interpreter on the same arrays: what it says of itself, and equity without and with costs."""
    path = folder / "case.npz"
    np.savez(
        path,
        price_TN=market.price_TN,
        time_T=market.as_of_T.astype("datetime64[ns]"),
        fill_K=targets.rows(market.as_of_T) + 1,
        weight_KN=targets.target_DN,
        cost=market.trade_cost_N[0],
    )
    command = [str(python), str(Path(__file__).with_name("peer_engines.py")), str(path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed under {python}:\n{done.stderr[-2000:]}")
    with np.load(folder / f"equity_{name}.npz") as stored:
        return json.loads(done.stdout.splitlines()[-1]), stored["free"], stored["costly"]


def compare(times: int, python: Path | None) -> None:
    """Twenty assets, two years, 730 rebalances: this engine, its loop, and the peers where an interpreter has them."""
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
    for name in PEERS if python is not None else ():
        with tempfile.TemporaryDirectory() as folder:
            measured, free_T, equity_T = peer(python, name, market, targets, Path(folder))
        offset = len(own) - len(equity_T)
        difference = float(np.abs(free_T / own_free[first + offset :] - 1).max())
        cpu = measured["cpu_seconds"]
        shown = f"{name} {measured['version']}"
        print(f"{shown:26}{cpu:10.3f}{cpu / own_cpu:9.0f}{difference:23.1e}{equity_T[-1] / own[-1] - 1:+23.1e}")


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
    cpu = best_cpu(lambda: simulate_many(market, rolled, execution_lag=1, capital=1e5), times)[0]
    print(f"{f'20 x 17,520, {variants:,} variants in one batch':44}{cpu:10.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="runs of which the best counts")
    parser.add_argument("--variants", type=int, default=1000)
    parser.add_argument("--peers", type=Path, help="an interpreter that has vectorbt, bt and skfolio")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    compare(chosen.times, chosen.peers)
    scale(chosen.times, chosen.variants)
