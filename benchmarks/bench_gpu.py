"""What a GPU has to prove: one script, under eight minutes on an H100.

    python -m benchmarks.bench_gpu
    python -m benchmarks.bench_gpu --device cpu --quick     # does the script itself run? in a minute, anywhere

Which kinds of network can be recorded, parity with the CPU, the same bits twice (float32 and bfloat16, every kind), what is said
when memory runs out, the recorded step against the plain one, members of an ensemble side by side, which precision is faster, and
rows of the large universes. Writes results_gpu.md beside this file after each line, so that a run that is cut off leaves what it
has; what would begin after --minutes is left out and named. Where torch sees no GPU it says so and ends with status 2.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bench_universe import table, trial
from benchmarks.planted.markets import PlantedMarket, planted_experiment, planted_suite_market, wide_market
from crossattn_core.errors import TrainingError
from crossattn_core.families.fitted import FitRequest, FittedModel
from crossattn_core.families.registry import fit_model
from crossattn_core.model.attention.base import ATTENTION
from crossattn_core.panel.labels import next_bar_labels
from crossattn_core.training.epochs import EpochReport

__all__ = ["PARTS", "QUICK", "Fit", "Sizes", "fit", "report"]


_SECONDS_TO_BE_READY = 120

_BRIEFLY: dict[str, Any] = {"epochs": 2, "minimum_batches": 1}
"""Of fits that every kind makes: two passes."""


@dataclass(frozen=True)
class Sizes:
    """How much is computed; small ones test the script itself."""

    hours: int = 8000
    short_hours: int = 2000
    """Of the fits that are repeated for every kind."""
    wide: tuple[int, ...] = (6, 100, 300)
    """Assets at which step times are taken."""
    universe: tuple[int, ...] = (100, 300)
    members: int = 8
    at_once: tuple[int, ...] = (1, 4, 8)
    """Members that are fitted side by side."""
    model: tuple[tuple[str, Any], ...] = ()
    """Knobs of every network."""
    training: tuple[tuple[str, Any], ...] = ()
    """Knobs of every fit, over those that a part asks for."""


QUICK = Sizes(
    500,
    500,
    wide=(6,),
    universe=(10,),
    members=2,
    at_once=(1, 2),
    model=(
        ("lookback", 24),
        ("patch", 8),
        ("max_lag", 4),
        ("width", 8),
        ("heads", 2),
        ("layers", 1),
        ("steps", 2),
        ("top_sources", 2),
    ),
    training=(("epochs", 1), ("minimum_batches", 1), ("batch_size", 256), ("screening", False)),
)
"""Every line of the script, in as little time as it takes; the numbers mean nothing."""


@dataclass(frozen=True)
class Fit:
    """One fit and what it took."""

    model: FittedModel
    ic: float
    wall_s: float
    batch_ms: float
    """Of the later epochs, their validation included; NaN where there is one."""


KINDS: dict[str, tuple[str, dict[str, Any]]] = {name: ("attention", {"cross_attention": name}) for name in ATTENTION.names()} | {
    "encoder stack": ("stacked_attention", {"patch": 4, "lookback": 48}),
    "direction head": ("direction_attention", {}),
    "Sharpe-trained": ("sharpe_attention", {}),
    "MASAAT": ("masaat", {}),
    "LSTM": ("lstm", {}),
}
"""Name in the tables -> family, and its knobs of the model section."""


def fit(
    family: str, market: PlantedMarket, sizes: Sizes, model: dict[str, Any] | None = None, *, seed: int = 0, **training: Any
) -> Fit:
    """Fit on the first 80% of the market, test on the rest."""
    panel = market.panel
    experiment = planted_experiment(
        panel, {"model": dict(sizes.model) | (model or {}), "training": training | dict(sizes.training)}
    )
    hours = len(panel.as_of_T)
    cut_off = int(hours * 0.8)
    request = FitRequest(panel, cut_off, np.ones(hours, dtype=np.float32), seed=seed)
    ended: list[tuple[float, int]] = []

    def note(epoch: EpochReport) -> None:
        ended.append((time.perf_counter(), -(-epoch.rows // experiment.training.batch_size)))

    began = time.perf_counter()
    fitted = fit_model(family, request, experiment, report=note)
    wall_s = time.perf_counter() - began
    row_R = np.arange(cut_off + 1, hours - 1)
    outcome_RN = next_bar_labels(panel).value_TNH[row_R, :, 0]
    forecast_RN = fitted.forecast_next_bar(panel, row_R)
    followers = sorted({edge.follower for edge in market.edges})
    with np.errstate(invalid="ignore"):
        ic = float(np.mean([np.corrcoef(forecast_RN[:, n], outcome_RN[:, n])[0, 1] for n in followers]))
    batches = sum(count for _, count in ended[1:])
    return Fit(fitted, ic, wall_s, 1e3 * (ended[-1][0] - ended[0][0]) / batches if batches else float("nan"))


def recordable(device: str, sizes: Sizes) -> Iterator[str]:
    """Which kinds of step become a CUDA graph: where every asset is readable, and where one is not for some hours."""
    yield "| kind | all readable | some unreadable |\n|---|---|---|"
    market = planted_suite_market("linear 5%", 0, bars=sizes.short_hours)
    bar_T1, asset_N = np.arange(sizes.short_hours)[:, None], np.arange(len(market.panel.asset_ids))
    hidden_TN = (bar_T1 // 40 % (3 + asset_N) == 0) & (bar_T1 % 400 > 150)
    age_TN = np.where(hidden_TN, np.float32(1e6), market.panel.age_hours_TN).astype(np.float32)
    masked = replace(market, panel=replace(market.panel, age_hours_TN=age_TN))
    for name, (family, model) in KINDS.items():
        cells = []
        for each in (market, masked):
            try:
                taken = fit(family, each, sizes, model, device=device, precision="float32", cuda_graph=True, **_BRIEFLY)
                cells.append(f"{taken.batch_ms:.2f} ms a batch")
            except TrainingError as error:
                cells.append(f"refused: {error}")
        yield f"| {name} | {cells[0]} | {cells[1]} |"


def parity(device: str, sizes: Sizes) -> Iterator[str]:
    """Losses of the same fit here and on the CPU."""
    yield "| kind | largest relative difference of an epoch's loss | IC on the CPU | IC on the device |\n|---|---|---|---|"
    market = planted_suite_market("linear 5%", 0, bars=sizes.short_hours)
    for name, (family, model) in KINDS.items():
        # Random numbers of two devices differ: nothing is dropped.
        knobs = {**model, "dropout": 0.0}
        here, there = (
            fit(family, market, sizes, knobs, device=each, precision="float32", **_BRIEFLY) for each in (device, "cpu")
        )
        losses = [np.array(each.model.manifest["training_losses"]) for each in (here, there)]
        difference = np.abs(losses[0] / losses[1] - 1).max()
        yield f"| {name} | {difference:.1e} | {there.ic:.3f} | {here.ic:.3f} |"


def same_bits(device: str, sizes: Sizes) -> Iterator[str]:
    """Model ids of the same request twice."""
    yield "| kind | float32 | bfloat16 |\n|---|---|---|"
    market = planted_suite_market("linear 5%", 0, bars=sizes.short_hours)
    for name, (family, model) in KINDS.items():
        cells = []
        for precision in ("float32", "bfloat16"):
            try:
                ids = {
                    fit(family, market, sizes, model, device=device, precision=precision, **_BRIEFLY).model.model_id
                    for _ in range(2)
                }
                cells.append("same bits" if len(ids) == 1 else "OTHER BITS")
            except TrainingError as error:
                cells.append(f"refused: {error}")
        yield f"| {name} | {cells[0]} | {cells[1]} |"


def out_of_memory(device: str, sizes: Sizes) -> Iterator[str]:
    """What a fit that does not fit says."""
    if device != "cuda":
        yield "Memory of a CPU is not made scarce."
        return
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.004)
    try:
        fit("attention", wide_market(1000, 100), sizes, device=device, epochs=1, batch_size=4096, screening=False)
        yield "It FITTED: no memory ran out."
    except TrainingError as error:
        yield f"> {error}"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def precision(device: str, sizes: Sizes) -> Iterator[str]:
    """Step times in both precisions, and which one 'auto' takes."""
    yield "| assets | float32 ms a batch | bfloat16 | 'auto' is |\n|---|---|---|---|"
    for assets in sizes.wide:
        market = wide_market(sizes.short_hours, assets)
        taken = [
            fit("attention", market, sizes, device=device, precision=each, epochs=3, screening=False)
            for each in ("float32", "bfloat16", "auto")
        ]
        auto = taken[2].model.manifest["computed_on"]["precision"]
        yield f"| {assets} | {taken[0].batch_ms:.2f} | {taken[1].batch_ms:.2f} | {auto} |"


def graph(device: str, sizes: Sizes) -> Iterator[str]:
    """The recorded step against the plain one."""
    yield "| kind | assets | recorded | ms a batch | fit s | IC | same bits twice |\n|---|---|---|---|---|---|---|"
    kinds = [("lag_bias", assets) for assets in sizes.wide]
    kinds += [(kind, sizes.wide[0]) for kind in KINDS if kind in ("sparse", "encoder stack", "MASAAT")]
    for kind, assets in kinds:
        family, model = KINDS[kind]
        market = wide_market(sizes.hours, assets)
        for cuda_graph in (False, True):
            try:
                first, second = (
                    fit(family, market, sizes, model, device=device, precision="float32", cuda_graph=cuda_graph) for _ in range(2)
                )
            except TrainingError as error:
                yield f"| {kind} | {assets} | {'yes' if cuda_graph else 'no'} | refused: {error} | | | |"
                continue
            is_same = "yes" if first.model.model_id == second.model.model_id else "NO"
            cells = f"{second.batch_ms:.2f} | {second.wall_s:.1f} | {second.ic:.3f} | {is_same}"
            yield f"| {kind} | {assets} | {'yes' if cuda_graph else 'no'} | {cells} |"


def members(device: str, sizes: Sizes) -> Iterator[str]:
    """Fits that differ by seed alone, so many at once, each in a process of its own: as on Ray with compute.gpus below 1."""
    yield "| recorded | at once | members | wall s | times one after the other | models |\n|---|---|---|---|---|---|"
    most = max(sizes.at_once)
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(most + 1)
    with context.Pool(most, initializer=_prepare, initargs=(device, sizes, ready)) as pool:
        # Timed without what a process costs once: imports, and the device's set-up.
        ready.wait(_SECONDS_TO_BE_READY)
        for cuda_graph in (False, True) if device == "cuda" else (False,):
            alone_s, ids = float("nan"), []
            for count in sizes.at_once:
                began = time.perf_counter()
                with ThreadPoolExecutor(count) as threads:
                    asked = [threads.submit(pool.apply, _member, (device, sizes, n, cuda_graph)) for n in range(sizes.members)]
                    found = [each.result() for each in asked]
                wall_s = time.perf_counter() - began
                alone_s, ids = (wall_s, found) if count == 1 else (alone_s, ids)
                same = "" if count == 1 else "the same" if found == ids else "OTHERS"
                cells = f"{sizes.members} | {wall_s:.1f} | {alone_s / wall_s:.1f} | {same}"
                yield f"| {'yes' if cuda_graph else 'no'} | {count} | {cells} |"


def _member(device: str, sizes: Sizes, seed: int, cuda_graph: bool) -> str:
    """The id of a member."""
    torch.set_num_threads(1)
    market = planted_suite_market("linear 5%", 0, bars=sizes.short_hours)
    return fit("attention", market, sizes, seed=seed, device=device, precision="float32", cuda_graph=cuda_graph).model.model_id


def _prepare(device: str, sizes: Sizes, ready: Any) -> None:
    """Import, and set the device up, by a small fit; then wait for the others."""
    _member(device, replace(QUICK, short_hours=500), 0, cuda_graph=False)
    ready.wait(_SECONDS_TO_BE_READY)


def universe(device: str, sizes: Sizes) -> Iterator[str]:
    """Rows of bench_universe on the device."""
    for assets in sizes.universe:
        rows = [trial(model, assets, device, bars=sizes.hours) for model in ("lag_bias", "sparse", "factorised")]
        yield table(rows)


PARTS: dict[str, Callable[[str, Sizes], Iterator[str]]] = {
    "What can be recorded": recordable,
    "Parity with the CPU": parity,
    "The same request twice": same_bits,
    "Out of memory": out_of_memory,
    "The recorded step (training.cuda_graph)": graph,
    "Members side by side": members,
    "Precision": precision,
    "Large universes": universe,
}


def report(device: str, sizes: Sizes, out: Path, *, minutes: float, parts: dict[str, Callable] | None = None) -> str:
    """Run the parts and write what each gives; a part that fails is named with its error, and the next begins."""
    name = torch.cuda.get_device_name() if device == "cuda" else "a CPU"
    text = (
        f"On {name}, torch {torch.__version__}. Six assets where no number stands; seed 0; the IC that nothing beats is .224.\n"
    )
    began = time.perf_counter()
    for title, part in (parts or PARTS).items():
        text += f"\n## {title}\n\n"
        start = time.perf_counter()
        try:
            for line in part(device, sizes):
                if time.perf_counter() - began > 60 * minutes:
                    text += f"\nLeft out after {minutes:g} minutes: the rest of this part.\n"
                    break
                text += line + "\n"
                out.write_text(text, encoding="utf-8")
        except Exception as error:  # one failure must not cost the other parts their time on the device
            text += f"\nFAILED: {type(error).__name__}: {error}\n"
        text += f"\n({time.perf_counter() - start:.0f} s)\n"
        out.write_text(text, encoding="utf-8")
    return text


def main() -> None:
    """Run everything on the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing more is begun")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether the script runs, nothing else")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results_gpu.md"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here: nothing was measured", file=sys.stderr)
        sys.exit(2)
    parts = {title: PARTS[title] for title in arguments.parts}
    sizes = QUICK if arguments.quick else Sizes()
    text = report(arguments.device, sizes, arguments.out, minutes=arguments.minutes, parts=parts)
    print(text)
    sys.exit("FAILED" in text)


if __name__ == "__main__":
    main()
