"""Large universes: what finds leads among 10, 30, 100, 300 and more assets, and what that costs.

    python -m benchmarks.bench_universe                           10, 30 and 100 assets, on a GPU too where there is one
    python -m benchmarks.bench_universe --assets 300 1000         more of them
    python -m benchmarks.bench_universe --models lag_bias ridge_var
    python -m benchmarks.bench_universe --stored                  the table of what was run so far

Each trial has a process of its own, so that its peak memory is its own, and is appended to a file as it ends (--trials); what
that file holds is not run again. Writes results_universe.md beside this file.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.planted.markets import planted_experiment, wide_market
from crossattn_core.analysis.snapshot import snapshot_of_rows
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import FAMILIES, fit_model
from crossattn_core.panel.labels import next_bar_labels
from crossattn_core.panel.windows import bar_log_returns

BARS, TRAIN_SHARE = 8000, 0.8
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "lag_bias": ("attention", {}),
    "sparse": ("attention", {"model": {"cross_attention": "sparse"}}),
    "factorised": ("attention", {"model": {"cross_attention": "factorised"}}),
    "ridge_var": ("ridge_var", {}),
} | {name: (name, {}) for name in ("lasso", "adaptive_lasso", "elastic_net", "lightgbm") if name in FAMILIES.names()}
"""Name in the table -> the family, and what differs from the defaults."""

_MIN_Z = 3.5
"""z of the held-out lagged correlation that a leader's name needs: by chance one of two thousand targets has it."""


def trial(model: str, assets: int, device: str, seed: int = 0, bars: int = BARS) -> dict[str, Any]:
    """Fit on the first part of a wide market, test on the rest; one line of the file of trials."""
    torch.set_num_threads(1)
    family, overrides = MODELS[model]
    market = wide_market(bars, assets, seed=seed)
    panel = market.panel
    training = {"training": {"threads": 1, "device": device}} if family == "attention" else {}
    experiment = planted_experiment(panel, overrides, training)
    cut_off = int(bars * TRAIN_SHARE)
    before = _used_gb()
    request = FitRequest(panel, cut_off, np.ones(bars, dtype=np.float32), seed)
    began, wall = time.process_time(), time.perf_counter()
    fitted = fit_model(family, request, experiment)
    fit_seconds, fit_wall = time.process_time() - began, time.perf_counter() - wall
    row_R = np.arange(cut_off + 1, bars - 1)
    began = time.process_time()
    fitted.forecast(panel, row_R[:24])
    forecast_seconds = time.process_time() - began
    forecast_RN = fitted.forecast_next_bar(panel, row_R)
    outcome_RN = next_bar_labels(panel).value_TNH[row_R, :, 0]
    followers = sorted({edge.follower for edge in market.edges})
    ic = float(np.mean([np.corrcoef(forecast_RN[:, n], outcome_RN[:, n])[0, 1] for n in followers]))
    planted = {(edge.leader, edge.follower): edge.lag for edge in market.edges}
    strongest = _strongest(fitted, experiment.baselines.ridge_lags, row_R, panel)
    found, false = -1, -1
    if strongest is not None:
        named = _named(strongest, bar_log_returns(panel)[cut_off + 1 :])
        found = sum(planted.get(pair) == lag for pair, lag in named.items())
        false = sum(pair not in planted for pair in named)
    return {
        "model": model,
        "assets": assets,
        "device": device,
        "ic": ic,
        "edges": len(market.edges),
        "found": found,
        "false": false,
        "fit_cpu_s": fit_seconds,
        "fit_wall_s": fit_wall,
        "forecast_cpu_s": forecast_seconds,
        "peak_gb": _used_gb(),
        "before_gb": before,
        "gpu_gb": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None,
    }


def _strongest(fitted: FittedModel, lags: int, row_R: NDArray[np.int64], panel: Any) -> dict[int, tuple[int, int]] | None:
    """Target -> (leader, lag index) with the most attention, or the largest linear coefficient; none for a family that points at
    no pair."""
    candidates = fitted.candidate_attention(panel, row_R[:1])
    if candidates is not None:
        best_N = candidates.heads_serving("next_bar").mean(axis=(0, 1)).argmax(axis=1)
        pairs = ((candidates.source_NK[n, k], candidates.lag_NK[n, k]) for n, k in enumerate(best_N))
        return {n: (int(leader), int(lag)) for n, (leader, lag) in enumerate(pairs)}
    assets = len(panel.asset_ids)
    snapshot = snapshot_of_rows(fitted, panel, row_R[::240], panel.as_of_T[row_R[-1]].astype("datetime64[D]").item())
    if snapshot is not None:
        best_N = snapshot.weight_NML.reshape(assets, -1).argmax(axis=1)
        return {n: divmod(int(best), lags) for n, best in enumerate(best_N)}
    coefficient_ENO = getattr(fitted, "weight_ENO", None)
    if coefficient_ENO is None:
        return None
    size_LMN = np.abs(coefficient_ENO[:, :, 0]).reshape(lags, assets, assets)
    size_LMN[:, np.arange(assets), np.arange(assets)] = 0.0
    places = (divmod(int(best), assets) for best in size_LMN.reshape(-1, assets).argmax(axis=0))
    return {n: (leader, lag) for n, (lag, leader) in enumerate(places)}


def _named(strongest: dict[int, tuple[int, int]], return_TN: NDArray[np.float64]) -> dict[tuple[int, int], int]:
    """(leader, target) -> lag: each target's strongest pair, where held-out returns show it too."""
    named = {}
    for n, (leader, lag) in strongest.items():
        x_T, y_T = return_TN[: -lag - 1, leader], return_TN[lag + 1 :, n]
        if abs((x_T * y_T).sum()) > _MIN_Z * np.sqrt((x_T**2 * y_T**2).sum()):
            named[(leader, n)] = lag + 1
    return named


def _used_gb() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _in_process(send: Any, *asked: Any) -> None:
    send.send(trial(*asked))


def table(rows: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    head = "| assets | model | device | IC | leaders found | false | fit CPU s | fit wall s | forecast CPU s | peak GB |"
    lines = [head, "|---|" + "---|" * 9]
    order = list(MODELS)
    for row in sorted(rows, key=lambda row: (row["assets"], row["device"], order.index(row["model"]))):
        found = f"{row['found']} of {row['edges']}" if row["found"] >= 0 else "-"
        memory = f"{row['peak_gb']:.1f}" + (f" + {row['gpu_gb']:.1f}" if row["gpu_gb"] is not None else "")
        lines.append(
            f"| {row['assets']} | {row['model']} | {row['device']} | {row['ic']:.3f} | {found} | "
            f"{row['false'] if row['false'] >= 0 else '-'} | {row['fit_cpu_s']:.1f} | {row['fit_wall_s']:.1f} | "
            f"{row['forecast_cpu_s']:.2f} | {memory} |"
        )
    return "\n".join(lines)


_LEGEND = f"""{BARS:,} hours; every fifth asset leads the four after it by 1, 3, 6 and 12 hours, a share of 5% of their variance:
no forecast has an IC over .224. Fitted on the first 80% at default settings with one thread, IC of the next bar on the rest, mean
over followers. A target names its strongest (source, lag) where its held-out lagged correlation has |z| > {_MIN_Z}; found: named,
with the right lag; false: named, not planted. Forecast: a day of 24 rows. Peak memory is the process's, libraries (about .4) and
panel included; on a GPU its own memory after the plus sign. One seed: differences of a few leaders mean nothing.

"""


def main() -> None:
    """Run the trials that were not run before and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", nargs="*", type=int, default=[10, 30, 100])
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--most", type=float, default=120.0, help="CPU s of a fit beyond which a model is not run at more assets")
    parser.add_argument("--trials", type=Path, default=Path("universe_trials.jsonl"), help="file of trials, read and appended to")
    parser.add_argument("--stored", action="store_true", help="run nothing: make the table of what was run so far")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results_universe.md"))
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.trials.read_text().splitlines()] if arguments.trials.is_file() else []
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    asked = [(model, assets, device) for assets in sorted(arguments.assets) for device in devices for model in arguments.models]
    for model, assets, device in [] if arguments.stored else asked:
        alike = [row for row in rows if (row["model"], row["device"]) == (model, device)]
        on_gpu_alone = device == "cuda" and MODELS[model][0] != "attention"
        too_long = any(row["assets"] < assets and row["fit_cpu_s"] > arguments.most for row in alike)
        if on_gpu_alone or too_long or any(row["assets"] == assets for row in alike):
            continue
        receive, send = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=_in_process, args=(send, model, assets, device))
        process.start()
        send.close()
        try:
            rows.append(receive.recv())
        except EOFError:
            print(f"{model} at {assets} assets on {device}: the process died", flush=True)
            continue
        finally:
            process.join()
        with arguments.trials.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(rows[-1]) + "\n")
        print(rows[-1], flush=True)
    text = _LEGEND + table(rows) + "\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
