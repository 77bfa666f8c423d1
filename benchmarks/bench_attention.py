"""What a training step costs: ours against the pooled layer that it replaces, and as assets and lookback grow.

    python -m benchmarks.bench_attention            the headline, two minutes on one core
    python -m benchmarks.bench_attention --growth   the curves, some minutes

Forward + backward in CPU seconds (one thread, best of several); each case in a process of its own, so that its peak
memory is its own. A case that takes too long or more than 8 GB says so. Writes results_attention.md or results_growth.md
beside this file.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.pooled_layer import PooledNetwork
from crossattn_core.experiment import ModelSettings
from crossattn_core.model.attention.base import ATTENTION
from crossattn_core.model.network import build_network
from crossattn_core.model.shape import NetworkShape
from crossattn_core.panel.windows import RecentBars

HEADLINE = {"batch": 32, "assets": 10, "lookback": 168, "features": 6, "width": 64, "layers": 2}
_MEMORY_LIMIT = 8 * 2**30
_MAX_SECONDS = 240
"""Wall time of a case."""
_ENOUGH_SECONDS = 6
"""CPU time after which a case is not repeated again."""
PORTFOLIO = {"own_branch": "portfolio_transformer", "head": "weights"}
DEFAULT = ModelSettings().cross_attention


def main() -> None:
    """Run the cases and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--growth", action="store_true", help="the curves against assets and lookback, not the headline")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    name = "growth" if arguments.growth else "attention"
    text = growth("assets", (10, 30, 100, 300)) + growth("lookback", (72, 168, 336, 720)) if arguments.growth else headline()
    (arguments.out or Path(__file__).with_name(f"results_{name}.md")).write_text(text, encoding="utf-8")
    print(text)


def headline() -> str:
    """Ours against the pooled layer on one shape."""
    pooled = in_process({**HEADLINE, "what": "pooled layer"})
    fused = in_process({**HEADLINE, "what": "pooled layer", "dropout": 0.0})
    lines = [
        "Forward + backward on [32, 10, 168, 6], width 64, 2 layers, one thread.",
        "",
        "| what | ms | times faster | peak memory, MB |",
        "|---|---|---|---|",
        _line("pooled layer, as written", pooled, pooled),
        _line("pooled layer, dropout 0", fused, pooled),
    ]
    for kind in sorted(ATTENTION.names(), key=lambda name: name != DEFAULT):
        lines.append(_line(f"ours, {kind}", in_process({**HEADLINE, "what": kind}), pooled))
    convolution = {**HEADLINE, "what": "lag_bias", "embedding": "convolution"}
    lines.append(_line("ours, lag_bias, convolution embedding", in_process(convolution), pooled))
    lines.append(_line("Portfolio Transformer", in_process({**HEADLINE, "what": "off", **PORTFOLIO}), pooled))
    lines.append(_line("ours, lag_bias + content", in_process({**HEADLINE, "what": "lag_bias", "content": True}), pooled))
    lines.append(_line("ours, lag_bias, patches of 8", in_process({**HEADLINE, "what": "lag_bias", "patch": 8}), pooled))
    as_trained = in_process({**HEADLINE, "what": "lag_bias", "own_branch_stride": 16, "run": 16})
    lines.append(_line("ours, lag_bias, as trained (neighbouring rows, own branch on every 16th)", as_trained, pooled))
    return "\n".join(lines) + "\n\n"


def growth(knob: str, values: tuple[int, ...]) -> str:
    """Cost as one knob grows, 8 windows a batch."""
    lines = [
        f"Milliseconds (and peak MB) for 8 windows as {knob} grow{'s' if knob == 'lookback' else ''}; the rest as above.",
        "",
        f"| {knob} | " + " | ".join(map(str, values)) + " |",
        "|---|" + "---|" * len(values),
    ]
    for what in ("lag_bias", "sparse", "factorised", "last", "pooled layer"):
        cells = []
        for value in values:
            found = in_process({**HEADLINE, "batch": 8, "what": what, knob: value})
            cells.append(f"{found['seconds'] * 1e3:.0f} ({found['peak_mb']:.0f})" if found else "out of memory or time")
        lines.append(f"| {what if what == 'pooled layer' else 'ours, ' + what} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n\n"


def in_process(case: dict[str, Any]) -> dict[str, float]:
    """Measure one case in a process of its own; empty when it dies or takes too long."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_measure_in_child, args=(case, theirs))
    child.start()
    theirs.close()
    try:
        # A child that died has closed its end: that is a result too.
        return ours.recv() if ours.poll(_MAX_SECONDS) else {}
    except EOFError:
        return {}
    finally:
        child.kill()
        child.join()


def _measure_in_child(case: dict[str, Any], theirs: Connection) -> None:
    try:
        theirs.send(measure(case))
    except (MemoryError, RuntimeError):
        theirs.close()  # out of memory, as torch or Python puts it: the empty pipe says so


def measure(case: dict[str, Any]) -> dict[str, float]:
    """Seconds of CPU a step, and the peak memory above the imports'."""
    torch.set_num_threads(1)
    # A case that needs more than this says so in the table instead of taking the machine down.
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = _pooled_step(case) if case["what"] == "pooled layer" else _our_step(case)
    best, began = float("inf"), time.process_time()
    for _ in range(6):
        started = time.process_time()
        step()
        best = min(best, time.process_time() - started)
        if time.process_time() - began > _ENOUGH_SECONDS:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": best, "peak_mb": peak / 1024}


def _pooled_step(case: dict[str, Any]) -> Callable[[], None]:
    network = PooledNetwork(
        case["features"],
        lookback=case["lookback"],
        width=case["width"],
        heads=8,
        layers=case["layers"],
        dropout=case.get("dropout", 0.1),
    )
    bar_BNLC = torch.randn(case["batch"], case["assets"], case["lookback"], case["features"])

    def step() -> None:
        network.zero_grad()
        network(bar_BNLC).square().mean().backward()

    return step


def _our_step(case: dict[str, Any]) -> Callable[[], None]:
    settings = ModelSettings.model_validate(
        {
            "cross_attention": case["what"],
            "lookback": case["lookback"],
            "width": case["width"],
            "layers": case["layers"],
            "content": case.get("content", False),
            "patch": case.get("patch", 24),
            **{knob: case[knob] for knob in ("embedding", "own_branch", "head") if knob in case},
        }
    )
    assets, batch, lags = case["assets"], case["batch"], settings.max_lag
    groups = tuple(n % 5 for n in range(assets))
    shape = NetworkShape(assets, case["features"] + 1, 3, groups, (0,) * assets)
    network = build_network(shape, settings, torch.Generator().manual_seed(0)).train()
    bar_TNC = torch.randn(case["lookback"] + 200 * batch, assets, case["features"] + 1)
    bar_TNC[..., -1] = 1.0
    run = case.get("run", 1)
    # Rows 200 bars apart share no bar: the dear case. Runs of neighbours do, as in training.
    row_B = torch.cat([torch.arange(run) + case["lookback"] + 200 * start for start in range(batch // run)])
    readable_BN = torch.ones(batch, assets, dtype=torch.bool)
    own_rows = row_B[:: case.get("own_branch_stride", 1)]

    def step() -> None:
        network.zero_grad()
        bar_U, place_BL = torch.unique(row_B[:, None] - torch.arange(lags), return_inverse=True)
        cross_BNO = network.cross_part(RecentBars(bar_TNC[bar_U], place_BL, readable_BN))
        own_BNO = network.own_part(bar_TNC[own_rows[:, None] + torch.arange(1 - case["lookback"], 1)])
        (cross_BNO.square().mean() + own_BNO.square().mean()).backward()

    return step


def _line(name: str, found: dict[str, float], reference: dict[str, float]) -> str:
    if not found:
        return f"| {name} | failed | | |"
    ratio = f"{reference['seconds'] / found['seconds']:.1f}" if reference else "?"
    line = f"| {name} | {found['seconds'] * 1e3:.0f} | {ratio} | {found['peak_mb']:.0f} |"
    print(line, flush=True)
    return line


if __name__ == "__main__":
    main()
