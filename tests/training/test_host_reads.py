"""A training step asks its device nothing: it can be recorded as a CUDA graph, and Python never waits for a GPU within it.

Without a GPU two things are held: on the CPU no operator runs whose CUDA kernel reads a value or a size back, the deterministic
ones included; and on the device "meta", which has no values, the step runs from batch to clipped gradients.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.planted.markets import planted_experiment, planted_market
from crossattn_core.experiment import TrainingSettings
from crossattn_core.families import network as network_family
from crossattn_core.families.fitted import FitRequest
from crossattn_core.families.registry import fit_model
from crossattn_core.model.attention import candidate_pairs
from crossattn_core.model.attention.base import ATTENTION
from crossattn_core.model.encoders.base import ENCODERS
from crossattn_core.model.network import Network
from crossattn_core.panel import windows
from crossattn_core.training.device import Computing
from crossattn_core.training.examples import Batch, Examples, alike, on_device
from crossattn_core.training.step import TrainingStep

BARS, ASSETS = 300, 4
PANEL = planted_market(bars=BARS, assets=ASSETS, seed=2, edges=())
# Each asset is unreadable for some hours; some rows have all, some all but one, some all but two.
HIDDEN_TN = (np.arange(BARS)[:, None] // 7 % (3 + np.arange(ASSETS))) == 0
MASKED = replace(PANEL, age_hours_TN=np.where(HIDDEN_TN & (np.arange(BARS) % 3 > 0)[:, None], 200.0, PANEL.age_hours_TN))

READ_BY_THE_HOST = {
    "_local_scalar_dense", "item", "equal", "nonzero", "masked_select", "bincount", "unique_dim", "_unique", "_unique2",
    "unique_consecutive",
}  # fmt: skip
SORTED_AND_CHECKED = {
    # With deterministic algorithms these become a put by index, which reads the largest index; a bag's gradient sorts. The
    # gradient of [], `index_put` in a dispatch mode, is a put that does not.
    "index_add", "index_add_", "index_put_", "scatter_add", "scatter_add_", "_embedding_bag",
    "_embedding_bag_dense_backward", "_embedding_bag_backward",
}  # fmt: skip


class NoHostReads(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1].split(".")[0]
        assert name not in READ_BY_THE_HOST | SORTED_AND_CHECKED, f"{func.name()} makes the host wait for a GPU"
        if name == "index":
            assert all(index is None or index.dtype != torch.bool for index in args[1]), "the size of a selection is a value"
        if func.name() == "aten::repeat_interleave.Tensor":
            raise AssertionError("the size of what is repeated is a value")
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            devices = {arg.device.type for arg in args if isinstance(arg, torch.Tensor) and arg.ndim} | {found.device.type}
            assert len(devices) == 1, f"{func.name()} moves a tensor between devices"
        return found


KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{f"parallel {name}": ("attention", {"cross_attention": name}, {}) for name in ATTENTION.names()},
    **{f"stacked {name}": ("stacked_attention", {"cross_attention": name}, {}) for name in ATTENTION.names()},
    **{f"own {name}": ("attention", {"own_branch": name, "cross_attention": "off"}, {}) for name in ENCODERS.names()},
    "content": ("attention", {"content": True}, {}),
    "stacked content": ("stacked_attention", {"content": True}, {}),
    "candidates": ("attention", {"candidate_pairs": 6}, {}),
    "candidates content": ("attention", {"candidate_pairs": 6, "content": True}, {}),
    "candidates sparse": ("attention", {"candidate_pairs": 6, "cross_attention": "sparse"}, {}),
    "direction": ("direction_attention", {}, {}),
    "sharpe": ("sharpe_attention", {}, {}),
    "rank": ("attention", {}, {"loss": "rank_ic"}),
    "entropy": ("attention", {}, {"entropy_weight": 0.1}),
    "stacked entropy": ("stacked_attention", {}, {"entropy_weight": 0.1}),
}


class _TakenError(Exception):
    """The fit has come to where it trains."""


def what_is_trained(kind: str, masked: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Network, Examples, TrainingSettings]:
    family, model, training = KINDS[kind]
    panel, taken = MASKED if masked else PANEL, []

    def take(network: Network, examples: Examples, settings: TrainingSettings, **_: Any) -> None:
        taken.append((network.train(), examples, settings))
        raise _TakenError

    monkeypatch.setattr(network_family, "train", take)
    shape = {"lookback": 24, "patch": 8, "max_lag": 6, "width": 16, "heads": 4, "layers": 2, "dropout": 0.0, "top_sources": 2}
    experiment = planted_experiment(panel, {"model": shape | model, "training": {"screening": False} | training})
    with pytest.raises(_TakenError):
        fit_model(family, FitRequest(panel, 270, np.ones(BARS, np.float32), seed=5), experiment)
    return taken[0]


def batches(examples: Examples, network: Network, *, size: int = 24) -> list[Batch]:
    row_R = torch.from_numpy(examples.split.train_R)
    return list(examples.batches(row_R, size, network.max_lag))


def decided(network: Network, examples: Examples) -> None:
    masks = examples.windows.masks(torch.from_numpy(examples.split.train_R))
    network.prepare(None if masks is None else masks.readable_ZM, 0.0)


def gradients(network: Network, step: Callable[[Batch], torch.Tensor], batch: Batch) -> list[torch.Tensor]:
    torch.manual_seed(0)
    loss = step(batch)
    return [loss, *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("masked", [False, True], ids=["readable", "masked"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_step_reads_nothing_back_and_gives_what_a_step_gives_that_may(
    kind: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, examples, settings = what_is_trained(kind, masked, monkeypatch)
    plain = batches(examples, network)
    step = TrainingStep(network, examples, settings, Computing(torch.device("cpu"), bfloat16=False))
    which = 3
    assert (plain[which].recent.masks is not None) == masked
    expected = gradients(network, step, plain[which])

    decided(network, examples)
    # As on a GPU: pairs are gathered, and rows taken by the form whose gradient reads nothing.
    monkeypatch.setattr(candidate_pairs, "_multiplies_sparse", lambda device: False)
    monkeypatch.setattr(windows, "_is_on_cpu", lambda value: False)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # "meta" has none
    batch = alike(plain)[which]
    with NoHostReads():
        found = gradients(network, step, batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)

    meta = torch.device("meta")
    on_meta = TrainingStep(network.to(meta), examples.to(meta), settings, Computing(meta, bfloat16=False))
    [there] = on_device([batch], meta)
    with NoHostReads():
        assert on_meta(there).device == meta


def test_what_asks_the_device_is_found() -> None:
    value = torch.ones(3)
    for asks in (lambda: bool(value.all()), lambda: value[value > 0], lambda: value.unique(), lambda: value.int().bincount()):
        with NoHostReads(), pytest.raises(AssertionError):
            asks()
    with NoHostReads(), pytest.raises(AssertionError):
        value.to("meta")
