"""An interrupted fit, on disk: everything that decides the next batch, so that a resumed fit ends in the same bits.

<folder>/state-<n>.safetensors   weights, best weights, optimiser moments, random states after epoch n
<folder>/progress.json           written last: which state file holds, and for which fit
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from crossattn_core.errors import CheckpointError
from crossattn_core.storage import sha256_of, write_bytes, write_json

__all__ = ["TrainingHistory", "discard", "restore", "store"]

_PROGRESS = "progress.json"


@dataclass
class TrainingHistory:
    """What happened, epoch by epoch."""

    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    """From 1; 0 means that the start was never beaten."""

    @property
    def epochs_done(self) -> int:
        """Epochs behind."""
        return len(self.validation_loss)


def store(
    folder: Path,
    fit_id: str,
    network: nn.Module,
    best_weights: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    generator: torch.Generator,
    history: TrainingHistory,
) -> None:
    """Write the state after an epoch; the earlier state stays whole until this one is."""
    tensors = {f"now.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best_weights.items()}
    told = optimiser.state_dict()
    for index, moments in told["state"].items():
        tensors |= {f"moment.{index}.{name}": value for name, value in moments.items()}
    tensors |= {"random.rows": generator.get_state(), "random.dropout": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    content = save_tensors({name: value.detach().clone().contiguous() for name, value in tensors.items()})
    name = f"state-{history.epochs_done}.safetensors"
    write_bytes(folder / name, content)
    progress = {
        "fit_id": fit_id,
        "state": name,
        "sha256": sha256_of(content),
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in told["param_groups"]],
        "schedule": {name: value for name, value in schedule.state_dict().items() if _moves(value)},
        "history": asdict(history),
    }
    write_json(folder / _PROGRESS, progress)
    for earlier in folder.glob("state-*.safetensors"):
        if earlier.name != name:
            earlier.unlink()


def restore(
    folder: Path,
    fit_id: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    generator: torch.Generator,
) -> tuple[TrainingHistory, dict[str, Tensor]] | None:
    """Put everything back as it was after the last stored epoch; none where this fit has no state there.

    Raises:
        CheckpointError: the state belongs to this fit but its bytes are damaged.
    """
    path = folder / _PROGRESS
    if not path.is_file():
        return None
    progress = json.loads(path.read_text(encoding="utf-8"))
    if progress["fit_id"] != fit_id:
        return None
    content = (folder / progress["state"]).read_bytes()
    if sha256_of(content) != progress["sha256"]:
        raise CheckpointError(f"{folder / progress['state']}: bytes differ from {_PROGRESS}; delete {folder} to start anew")
    tensors = load_tensors(content)

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    network.load_state_dict(under("now."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in under("moment.").items():
        index, what = name.split(".", 1)
        moments.setdefault(int(index), {})[what] = value
    told = optimiser.state_dict()
    groups = [{**group, **kept} for group, kept in zip(told["param_groups"], progress["groups"], strict=True)]
    for group in groups:
        # JSON has no tuples.
        group["betas"] = tuple(group["betas"])
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    schedule.load_state_dict(progress["schedule"])
    generator.set_state(tensors["random.rows"])
    torch.set_rng_state(tensors["random.dropout"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return TrainingHistory(**progress["history"]), under("best.")


def _moves(value: Any) -> bool:
    # Functions and infinities in a schedule's state are constants that a new schedule has anyway.
    return isinstance(value, int | list) or (isinstance(value, float) and math.isfinite(value))


def discard(folder: Path) -> None:
    """Remove the state of a fit that has ended."""
    for path in (folder / _PROGRESS, *folder.glob("state-*.safetensors")):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
