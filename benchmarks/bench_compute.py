"""What Ray costs and gains: overhead of a task, start and idle memory of a cluster, cold retrains on two workers.

    python -m benchmarks.bench_compute                        24 cold retrains of attention and ridge, 8 assets
    python -m benchmarks.bench_compute --retrains 6           fewer

Both walks must store the same models; the table says so. Prints the report that lies in results_compute.md.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import psutil

from benchmarks.planted.markets import planted_experiment, wide_market
from crossattn_core.compute.pool import Pool
from crossattn_core.compute.ray_pool import RayPool
from crossattn_core.experiment import ComputeSettings, Experiment
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.walk_forward.walk import walk

ASSETS, DAYS_OF_HISTORY, EVERY_DAYS = 8, 60, 7
TASKS = 200


def main() -> None:
    """Measure, check and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retrains", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    lines = [
        f"{arguments.workers} workers of one CPU on {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} when it began.",
        "",
    ]
    lines += ["| what | measured |", "|---|---|"]
    pool = RayPool(ComputeSettings(engine="ray", local_cpus=arguments.workers))
    try:
        began = time.perf_counter()
        pool.submit(_nothing).result()
        lines.append(f"| start of a local cluster and its first worker | {time.perf_counter() - began:.1f} s |")
        for task in [pool.submit(_nothing) for _ in range(4 * arguments.workers)]:
            task.result()
        began = time.perf_counter()
        for task in [pool.submit(_nothing) for _ in range(TASKS)]:
            task.result()
        lines.append(f"| a task that does nothing, of {TASKS} | {(time.perf_counter() - began) / TASKS * 1e3:.1f} ms |")
        lines += [f"| {what} | {mib:.0f} MiB |" for what, mib in _idle_memory(pool)]
        lines += ["", *_retrains(arguments.retrains, pool)]
    finally:
        pool.close()
    print("\n".join(lines))


def _nothing() -> None: ...


def _idle_memory(pool: RayPool) -> Iterator[tuple[str, float]]:
    """(what, MiB) of the cluster's processes, pages that several hold shared out among them (PSS)."""
    cluster = pool._cluster
    assert cluster is not None
    held = [process for process in psutil.process_iter() if _is_in(process, cluster.session)]
    memory = [(" ".join(process.cmdline()[:1]), process.memory_full_info().pss / 2**20) for process in held]
    workers = [mib for name, mib in memory if name.startswith("ray::") and "Agent" not in name]
    yield (
        f"idle memory of the cluster without workers, {len(memory) - len(workers)} processes",
        sum(mib for _, mib in memory) - sum(workers),
    )
    yield f"idle memory of a worker, mean of {len(workers)}", sum(workers) / max(len(workers), 1)


def _is_in(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session
    except ProcessLookupError:
        return False


def _cluster_seconds(pool: RayPool) -> float:
    """CPU seconds that the cluster's processes have taken so far."""
    assert pool._cluster is not None
    held = [process for process in psutil.process_iter() if _is_in(process, pool._cluster.session)]
    return sum(sum(process.cpu_times()[:2]) for process in held)


def _retrains(count: int, pool: RayPool) -> Iterator[str]:
    days = DAYS_OF_HISTORY + EVERY_DAYS * (count - 1) + 1
    panel = wide_market(24 * days, ASSETS).panel
    triggers = {"on_drift": False, "on_degraded": False, "on_regime_change": False}
    retrain = {
        "minimum_days": DAYS_OF_HISTORY,
        "every_days": EVERY_DAYS,
        "cold_every": 1,
        "history_days": DAYS_OF_HISTORY,
        **triggers,
    }
    experiment = planted_experiment(panel, {"retrain": retrain})
    alone, alone_models, alone_s, alone_cpu = _walked(panel, experiment, None)
    before = _cluster_seconds(pool)
    there, there_models, there_s, there_cpu = _walked(panel, experiment, pool)
    workers_cpu = _cluster_seconds(pool) - before
    equal = sum(there_models.get(name) == held for name, held in alone_models.items())
    families = " and ".join(experiment.retrain.families)
    yield f"{alone} cold retrains of {families}, {ASSETS} assets, {DAYS_OF_HISTORY} days of hours each:"
    yield ""
    yield "| engine | wall s | speed-up | CPU s of the driver | of the cluster | models equal, byte for byte |"
    yield "|---|---:|---:|---:|---:|---|"
    yield f"| in_process | {alone_s:.1f} | 1.00 | {alone_cpu:.1f} | | |"
    ratio = f"{there_s:.1f} | {alone_s / there_s:.2f} | {there_cpu:.1f} | {workers_cpu:.1f}"
    yield f"| ray | {ratio} | {equal} of {len(alone_models)}, retrains {there} |"


def _walked(panel: Panel, experiment: Experiment, pool: Pool | None) -> tuple[int, dict[str, bytes], float, float]:
    """Retrains, weights of each model by id, wall and CPU seconds."""
    first: date = panel.as_of_T[0].astype("datetime64[D]").item()
    last = first + timedelta(days=len(panel.as_of_T) // 24 - 1)
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        results = list(walk(Home(Path(folder)), experiment, panel, first, last, pool=pool))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        models = {path.parent.name: path.read_bytes() for path in Path(folder).glob("models/*/weights.safetensors")}
    return sum(bool(result.trained) for result in results), models, seconds, cpu


if __name__ == "__main__":
    main()
