"""Who finds leads that are known to be there, and who invents some: three views and the gate beside classical statistics.

    python -m benchmarks.bench_leads             all of it
    python -m benchmarks.bench_leads --seeds 1   one seed a market

Writes results_leads.md beside this file.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.planted.lead_trial import METHODS, EdgeScore, days_until_followed, find_edges, score_edges
from benchmarks.planted.markets import planted_suite_market

MARKETS = ("linear 5%", "linear 1%", "squared 5%", "two leaders", "hidden driver", "sessions")
BARS, NULL_BARS, SWITCH_BARS = 6000, 3000, 6000
HALF_LIVES = (180.0, 30.0)

LEGEND = """{bars:,} hours x 6 assets; the model fitted on the first 80%, views and the gate's IC on the rest, statistics on all
hours; {seeds} seeds a market together. A cell: precision / recall of named edges; mean lag error in hours where the method tells
a lag. Views name an edge at 1.5 times the fair share, statistics at a false-discovery rate of 5%, `gate` is the house's
rule. With a hidden driver the planted edges are those of the proxy, the best that anyone can see."""


def main() -> None:
    """Run the trials and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--null-markets", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results_leads.md"))
    asked = parser.parse_args()
    started = time.process_time()
    lines = [LEGEND.format(bars=BARS, seeds=asked.seeds), "", *_found(asked.seeds), "", *_null(asked.null_markets), ""]
    lines += [*_switching(asked.seeds), "", f"One core, {(time.process_time() - started) / 60:.1f} CPU minutes in all."]
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _found(seeds: int) -> Iterable[str]:
    yield f"| market | {' | '.join(METHODS)} |"
    yield "|---|" + "---|" * len(METHODS)
    for name in MARKETS:
        scores: dict[str, list[EdgeScore]] = {method: [] for method in METHODS}
        for seed in range(seeds):
            market = planted_suite_market(name, seed, bars=BARS)
            for method, edges in find_edges(market, seed).items():
                scores[method].append(score_edges(edges, market))
        row = f"| {name} | {' | '.join(_cell(scores[method]) for method in METHODS)} |"
        print(row, flush=True)
        yield row


def _cell(scores: list[EdgeScore]) -> str:
    named, found = sum(score.named for score in scores), sum(score.found for score in scores)
    planted = sum(score.planted for score in scores)
    precision = f"{found / named:.2f}" if named else "-"
    errors = [score.lag_error for score in scores if np.isfinite(score.lag_error)]
    return f"{precision} / {found / planted:.2f}" + (f"; {np.mean(errors):.1f} h" if errors else "")


def _null(markets: int) -> Iterable[str]:
    named = dict.fromkeys(METHODS, 0)
    touched = dict.fromkeys(METHODS, 0)
    for seed in range(markets):
        for method, edges in find_edges(planted_suite_market("null", 1000 + seed, bars=NULL_BARS), seed).items():
            named[method] += len(edges)
            touched[method] += bool(edges)
    yield f"False leaders on {markets} null markets ({NULL_BARS:,} hours x 6 assets, 30 ordered pairs each):"
    yield ""
    yield f"| | {' | '.join(METHODS)} |"
    yield "|---|" + "---|" * len(METHODS)
    yield f"| false edges a market | {' | '.join(f'{named[method] / markets:.1f}' for method in METHODS)} |"
    yield f"| markets with one | {' | '.join(f'{touched[method]} of {markets}' for method in METHODS)} |"


def _switching(seeds: int) -> Iterable[str]:
    left = (SWITCH_BARS - SWITCH_BARS // 2) // 24
    yield (
        f"A leader that switches half-way through {SWITCH_BARS:,} hours: days until the new leader stands before the old for "
        f"most followers, refitted warm every 14 days ({left} days are left), median over {seeds} seeds:"
    )
    yield ""
    columns = [method for method in METHODS if method != "gate"]
    yield f"| half-life of training rows | {' | '.join(columns)} |"
    yield "|---|" + "---|" * len(columns)
    for half_life in HALF_LIVES:
        overrides = {"retrain": {"recency_half_life_days": half_life}}
        runs = [
            days_until_followed(
                planted_suite_market("switching leader", seed, bars=SWITCH_BARS), SWITCH_BARS // 2, seed, overrides
            )
            for seed in range(seeds)
        ]
        medians = {method: float(np.median([run[method] for run in runs])) for method in columns}
        cells = [f"{medians[method]:.0f}" if np.isfinite(medians[method]) else "not followed" for method in columns]
        yield f"| {half_life:.0f} days | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
