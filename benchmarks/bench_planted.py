"""The planted suite: which model finds leads that are known to be there, and which invents some.

    python -m benchmarks.bench_planted                 all of it, in two processes, at most an hour on 2 cores
    python -m benchmarks.bench_planted --seeds 1       one seed each
    python -m benchmarks.bench_planted --models ridge_var lag_bias --markets "linear 5%" null

Each trial is appended to a file as it ends (--trials), and what that file holds is not run again: a suite that was
stopped goes on. Delete the file to measure anew. Writes results_planted.md beside this file: one row a model, one
column a market.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.planted.markets import MARKETS, REAL_LIKE, planted_suite_market
from benchmarks.planted.trial import PlantedTrial, run_trial
from crossattn_core.compute.pool import Task, open_pool
from crossattn_core.experiment import ComputeSettings, ModelSettings
from crossattn_core.families.registry import FAMILIES
from crossattn_core.model.attention.base import ATTENTION

NEXT_BAR = {"labels": {"horizons": [1], "trade_horizon": 1}, "training": {"turnover_cost_bps": 0.0}}
"""Families that give weights are trained to earn the very bar that the others forecast, filled at its open and free of costs:
at 10 bps a lead of 5% an hour costs more to follow than it is worth, and the best Sharpe ratio is had by holding still."""

_TITLES = {
    "self_attention": "self-attention only",
    "dlinear": "DLinear",
    "gru": "GRU, all assets",
    "lstm": "LSTM, one asset",
    "lightgbm": "LightGBM",
    "direction_attention": "direction head",
    "sharpe_attention": "Sharpe-trained, lag_bias",
    "uniform_attention": "uniform",
    "portfolio_transformer": "Portfolio Transformer",
    "stacked_attention": "encoder stack",
    "masaat": "MASAAT",
    "graph_attention_portfolio": "graph-attention portfolio",
    "adaptive_lasso": "adaptive LASSO",
    "elastic_net": "elastic net",
    "local_lead_lag": "local lead-lag",
    "itransformer": "iTransformer",
    "patchtst": "PatchTST",
}
"""Families whose name in the table says more than their own."""

_SPARSE = {"top_sources": 2}
_KNOBS_OF_FAMILY = {"stacked_attention": {"model": {"patch": 4, "lookback": 48}}}
"""A stack sees lags in patches: at the default of a day there would be one."""
_STACK_OF_BARS = {"model": {"patch": 1, "lookback": 24, "layers": 1}}
"""A bar a token, so that every lag has a logit; one layer, since a second one would ask at each of 24 steps."""


def _variants() -> dict[str, tuple[str, dict]]:
    """Every attention variant but the two ablations, which are families; the default one also with content."""
    default = ModelSettings().cross_attention
    knobs = {
        name: {"cross_attention": name} | (_SPARSE if name == "sparse" else {})
        for name in ATTENTION.names()
        if name not in (default, "uniform", "off")
    }
    named = {default: {}, f"{default} + content": {"model": {"content": True}}} | {name: {"model": knobs[name]} for name in knobs}
    return {name: ("attention", overrides) for name, overrides in named.items()}


def _families() -> dict[str, tuple[str, dict]]:
    return {
        _TITLES.get(name, name): (name, _KNOBS_OF_FAMILY.get(name, {}) | (NEXT_BAR if family.gives_weights else {}))
        for name, family in FAMILIES.items()
        if name != "attention"
    }


MODELS: dict[str, tuple[str, dict]] = (
    _variants() | _families() | {"encoder stack, a bar a token": ("stacked_attention", _STACK_OF_BARS)}
)
"""Name in the table -> the family, and what differs from the defaults."""

MANY_SEEDS = ("ridge_var", "lag_bias", "adaptive LASSO", "LightGBM")
NULL_MARKETS, NULL_BARS = 60, 3000
WEIGHED = "switching leader, rows weighed"
COLUMNS: dict[str, tuple[str, bool]] = {name: (name, False) for name in MARKETS if name not in REAL_LIKE} | {
    WEIGHED: ("switching leader", True)
}
"""Column -> market, and whether training rows are weighed as the walk-forward weighs them."""


class Trials:
    """Every trial run so far, by model, market and seed; new ones are appended to a file as they end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._done: dict[str, dict[str, Any]] = {row["asked"]: row for row in map(json.loads, lines)}

    def has(self, model: str, column: str, seed: int, *, bars: int = 8000) -> bool:
        """Whether the trial was run before."""
        return _trial_key(model, column, seed, bars) in self._done

    def run(self, trials: list[tuple[str, str, int, int]], compute: ComputeSettings) -> None:
        """Run the trials (model, column, seed, bars) that were not run before; each is kept as it ends.

        Args:
            compute: in processes of this machine, ``local_cpus`` of them, or on Ray.
        """
        missing = [trial for trial in trials if _trial_key(*trial) not in self._done]
        with open_pool(compute) as on_ray:
            if on_ray is not None:
                self._keep(on_ray.completed([on_ray.submit(_trial, *trial) for trial in missing]))
                return
        with ProcessPoolExecutor(compute.local_cpus, multiprocessing.get_context("spawn")) as pool:
            self._keep(as_completed([pool.submit(_trial, *trial) for trial in missing]))

    def _keep(self, ended: Iterable[Task]) -> None:
        for done in ended:
            row = done.result()
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            self._done[row["asked"]] = row
            trial = row["trial"]
            print(f"{trial['market']:22s} {trial['family']:24s} IC {trial['ic']:+.3f} {row['seconds']:.0f} s", flush=True)

    def found(self, model: str, column: str, seed: int, *, bars: int = 8000) -> tuple[PlantedTrial, float]:
        """The trial, and the CPU seconds that it took."""
        row = self._done[_trial_key(model, column, seed, bars)]
        return PlantedTrial(**row["trial"]), row["seconds"]


def _trial(model: str, column: str, seed: int, bars: int) -> dict[str, Any]:
    (family, overrides), (market, weigh_rows) = MODELS[model], COLUMNS[column]
    began = time.process_time()
    planted = planted_suite_market(market, seed, bars=bars)
    trial = run_trial(family, planted, seed, overrides, label=model, weigh_rows=weigh_rows)
    return {"asked": _trial_key(model, column, seed, bars), "seconds": time.process_time() - began, "trial": asdict(trial)}


def _trial_key(model: str, column: str, seed: int, bars: int) -> str:
    return json.dumps([model, MODELS[model][1], column, seed, bars], sort_keys=True)


def main() -> None:
    """Run the trials and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--markets", nargs="*", default=list(COLUMNS), choices=list(COLUMNS))
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the models that are compared; every other model gets one")
    parser.add_argument("--null-markets", type=int, default=NULL_MARKETS, help="small null markets for the false-leader rate")
    parser.add_argument("--trials", type=Path, default=Path("planted_trials.jsonl"), help="file of trials, read and appended to")
    parser.add_argument("--jobs", type=int, default=2, help="processes that run trials at once, a core each")
    parser.add_argument("--engine", choices=["processes", "ray"], default="processes", help="ray: crossattn[ray]")
    parser.add_argument("--address", help="of a running Ray cluster; none: one of this machine with --jobs CPUs")
    parser.add_argument("--stored", action="store_true", help="run nothing: make the table of what was run so far")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results_planted.md"))
    arguments = parser.parse_args()
    trials = Trials(arguments.trials)
    seconds = 0.0
    lines = [
        "| model | " + " | ".join(arguments.markets) + " | CPU s a fit |",
        "|---|" + "---|" * (len(arguments.markets) + 1),
    ]
    seeds = {model: arguments.seeds if model in MANY_SEEDS else 1 for model in arguments.models}
    # Market by market, so that a suite that was stopped has whole columns.
    todo = [
        (model, column, seed, 8000) for column in arguments.markets for model in arguments.models for seed in range(seeds[model])
    ]
    repeated = [model for model in MANY_SEEDS if model in arguments.models]
    todo += [(model, "null", seed, NULL_BARS) for model in repeated for seed in _null_seeds(arguments.null_markets)]
    began = time.perf_counter()
    if not arguments.stored:
        engine = "ray" if arguments.engine == "ray" else "in_process"
        trials.run(todo, ComputeSettings(engine=engine, address=arguments.address, local_cpus=arguments.jobs))
    wall = time.perf_counter() - began
    for model in arguments.models:
        cells, spent = [], []
        for column in arguments.markets:
            found = [trials.found(model, column, seed) for seed in range(seeds[model]) if trials.has(model, column, seed)]
            spent += [cost for _, cost in found]
            cells.append(table_cell([trial for trial, _ in found]))
        seconds += sum(spent)
        lines.append(f"| {model} | " + " | ".join(cells) + f" | {f'{np.mean(spent):.1f}' if spent else ''} |")
    text = _LEGEND + "\n".join(lines) + "\n"
    if arguments.null_markets:
        rates, cost = _null_rates(arguments.null_markets, repeated, trials)
        text += "\n" + "\n".join(rates) + "\n"
        seconds += cost
    text += f"\n{seconds / 60:.0f} CPU minutes in all"
    text += ".\n" if arguments.stored else f"; this run took {wall / 60:.0f} minutes in {arguments.jobs} processes.\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


_LEGEND = f"""8,000 hours x 6 assets, fitted on the first 80%, tested on the rest; next-bar labels, close to close. A cell: mean
time-series IC over the followers (± over seeds); edges whose leader and lag are the strongest pair; leaders named by the
gate, of these false. The IC that nothing can beat is .224 at a share of 5% and .1 at 1%. {", ".join(MANY_SEEDS)} on five
seeds, every other model on one; an empty cell was not run. In '{WEIGHED}' training rows are weighed by age and regime as the
walk-forward weighs them; in every other column they weigh the same.

"""


def table_cell(trials: list[PlantedTrial]) -> str:
    """What one model found on one market, of all seeds."""
    if not trials:
        return ""
    ics = [trial.ic for trial in trials]
    cell = f"{np.nanmean(ics):.3f}" if np.isfinite(ics).any() else "-"
    if all(trial.constant for trial in trials):
        cell = "0 (constant)"
    elif len(trials) > 1:
        cell += f" ± {np.nanstd(ics):.3f}"
    edges = sum(trial.edges for trial in trials)
    if edges and trials[0].edges_found >= 0:
        cell += f"; {sum(trial.edges_found for trial in trials)}/{edges}"
    if trials[0].edges_found >= 0:
        named, falsely = sum(trial.named for trial in trials), sum(trial.named_falsely for trial in trials)
        cell += f"; {named} named, {falsely} false"
    return cell


def _null_seeds(markets: int) -> range:
    return range(1000, 1000 + markets)


def _null_rates(markets: int, models: list[str], trials: Trials) -> tuple[list[str], float]:
    lines = [
        f"False leaders on small null markets ({NULL_BARS} hours x 6 assets):",
        "",
        "| model | followers with a false leader | markets with one |",
        "|---|---|---|",
    ]
    seconds = 0.0
    for model in models:
        found = [
            trials.found(model, "null", seed, bars=NULL_BARS)
            for seed in _null_seeds(markets)
            if trials.has(model, "null", seed, bars=NULL_BARS)
        ]
        named = np.array([trial.named_falsely for trial, _ in found])
        seconds += sum(cost for _, cost in found)
        followers = max(len(found) * 6, 1)
        share = f"{named.sum()} of {followers} ({named.sum() / followers:.1%})"
        lines.append(f"| {model} | {share} | {int((named > 0).sum())} of {len(found)} |")
    return lines, seconds


if __name__ == "__main__":
    main()
