"""The walk-forward: what a retrain and a carried day cost, and what retraining is worth.

    python benchmarks/bench_rolling.py HOME EXPERIMENT.yaml [--variants base cold all_history static] [--last 2025-06-30]

HOME holds an exported panel (run the pipeline up to ``feature_windows`` first). Each variant walks in a folder of its own
under ``--scratch``, so the home's own results stay. CPU seconds are of this process; keep OMP_NUM_THREADS at 1.
"""

import argparse
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from crossattn_core.analysis.forecast_quality import ALL_ASSETS, forecast_quality
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.store import open_panel
from crossattn_core.training.walk_forward import walk

VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "cold": {"cold_every": 1},
    "all_history": {"other_regime_weight": 1.0, "recency_half_life_days": 36_500.0, "on_regime_change": False},
    "static": {"every_days": 365, "on_regime_change": False, "on_drift": False, "on_degraded": False},
    "weekly": {"every_days": 7},
}
"""What differs from the experiment: every model cold; all rows alike; hardly any retrain; a retrain a week."""


def walk_once(experiment: Experiment, panel: Panel, scratch: Home, last: date) -> dict[str, Any]:
    """Walk all days up to ``last`` and time them."""
    cold, warm, carried = [], [], []
    started = time.process_time()
    for result in walk(scratch, experiment, panel, experiment.period.start, last):
        spent, started = time.process_time() - started, time.process_time()
        if not result.trained:
            carried.append(spent)
        else:
            (warm if result.rows[0]["parent_id"] else cold).append(spent)
    return {"cold": cold, "warm": warm, "carried": carried}


def main() -> None:
    """Print one row a variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--variants", nargs="+", default=["base"], choices=sorted(VARIANTS))
    parser.add_argument("--last", type=date.fromisoformat, default=None)
    parser.add_argument("--scratch", type=Path, default=None)
    arguments = parser.parse_args()
    experiment = load_experiment(arguments.experiment)
    panel = open_panel(Home(arguments.home), experiment)
    last = arguments.last or panel.as_of_T[-25].astype("datetime64[D]").item()
    scratch = arguments.scratch or Path(tempfile.mkdtemp(prefix="rolling-"))
    print(f"{len(panel.asset_ids)} assets, days {experiment.period.start} .. {last}; walks in {scratch}")
    print("| variant | retrains | CPU s cold | CPU s warm | CPU ms a carried day | CPU s in all | IC by family and horizon |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.variants:
        changed = experiment.model_copy(update={"retrain": experiment.retrain.model_copy(update=VARIANTS[name])})
        home = Home(scratch / name)
        spent = walk_once(changed, panel, home, last)
        quality = forecast_quality(home, changed, panel, experiment.period.start, last)
        quality = quality[(quality["asset_id"] == ALL_ASSETS) & (quality["measure"] == "IC")]
        told = ", ".join(
            f"{row.family} {row.horizon} h {row.value:+.4f} [{row.low:+.4f}, {row.high:+.4f}]" for row in quality.itertuples()
        )
        total = sum(sum(times) for times in spent.values())
        cold, warm = (f"{np.mean(spent[kind]):.1f}" if spent[kind] else "-" for kind in ("cold", "warm"))
        retrains = len(spent["cold"]) + len(spent["warm"])
        print(
            f"| {name} | {retrains} | {cold} | {warm} | {1e3 * np.mean(spent['carried']):.0f} | {total:.0f} | {told} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
