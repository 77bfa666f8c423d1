"""Checkpoints: safetensors for the arrays, one JSON manifest for everything else. Nothing is ever unpickled.

<folder>/weights.safetensors   arrays by name
<folder>/manifest.json         written last: a folder without it is no checkpoint
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from crossattn_core import __version__
from crossattn_core.errors import CheckpointError
from crossattn_core.experiment import Experiment
from crossattn_core.storage import sha256_of, write_bytes, write_json

__all__ = ["FORMAT", "fits", "model_id_of", "read_checkpoint", "stamp", "write_checkpoint"]

FORMAT = 1
"""Layout of a checkpoint; another one is refused."""

_WITHOUT_NETWORK = ("ridge_var", "lightgbm")
_WEIGHTS, _MANIFEST = "weights.safetensors", "manifest.json"


def stamp(family: str, experiment: Experiment) -> dict[str, Any]:
    """The part of a manifest that says which experiment a model belongs to."""
    return {
        "format": FORMAT,
        "family": family,
        "code_version": __version__,
        "universe": list(experiment.asset_ids),
        "features": list(experiment.features.names),
        "horizons": list(experiment.labels.horizons),
        "execution_lag": experiment.labels.execution_lag,
        "model": experiment.model.model_dump(mode="json"),
        "experiment_hash": experiment.content_hash(),
        "seed": experiment.training.seed,
        "threads": experiment.training.threads,
    }


def model_id_of(arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> str:
    """Sixteen hex digits over weights and manifest: equal ids mean equal models."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(array.tobytes())
    told = {key: value for key, value in manifest.items() if key not in ("model_id", "weights_sha256")}
    digest.update(json.dumps(told, sort_keys=True, allow_nan=False).encode())
    return digest.hexdigest()[:16]


def write_checkpoint(folder: Path, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> Path:
    """Write ``folder`` so that a reader sees a whole checkpoint or none."""
    content = save_arrays({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})
    write_bytes(folder / _WEIGHTS, content)
    write_json(folder / _MANIFEST, {**manifest, "weights_sha256": sha256_of(content)})
    return folder


def read_checkpoint(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the manifest in ``folder``.

    Raises:
        CheckpointError: missing, damaged, or of another layout.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {_MANIFEST}, so no checkpoint; train the model again or name another folder")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        content = (folder / _WEIGHTS).read_bytes()
        if manifest.get("format") != FORMAT:
            raise CheckpointError(f"{folder}: layout {manifest.get('format')!r}, this code reads {FORMAT}; train the model again")
        if sha256_of(content) != manifest["weights_sha256"]:
            raise CheckpointError(f"{folder / _WEIGHTS}: bytes differ from the manifest's hash; restore it or train again")
        return load_arrays(content), manifest
    except (OSError, KeyError, json.JSONDecodeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: damaged checkpoint ({error!r}); restore it or train again") from error


def fits(manifest: Mapping[str, Any], family: str, experiment: Experiment, *, folder: Path | str = "checkpoint") -> None:
    """Refuse a checkpoint that was made for something else.

    Raises:
        CheckpointError: family, universe, features, horizons or network differ; each difference is spelled out.
    """
    wanted = stamp(family, experiment)
    compared = ["family", "universe", "features", "horizons", "execution_lag"] + (
        ["model"] if family not in _WITHOUT_NETWORK else []
    )
    differences = [line for key in compared for line in _differences(key, manifest.get(key), wanted[key])]
    if differences:
        raise CheckpointError(
            f"{folder} does not fit experiment {experiment.name!r}:\n  "
            + "\n  ".join(differences)
            + "\nTrain again, or run the experiment that the checkpoint was made for."
        )


def _differences(key: str, stored: Any, wanted: Any) -> list[str]:
    if stored == wanted:
        return []
    if isinstance(stored, list) and isinstance(wanted, list):
        only_stored = [item for item in stored if item not in wanted]
        only_wanted = [item for item in wanted if item not in stored]
        if not only_stored and not only_wanted:
            return [f"{key}: same entries in another order: checkpoint {stored}, experiment {wanted}"]
        return [f"{key}: only in the checkpoint {only_stored}, only in the experiment {only_wanted}"]
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            f"{key}.{name}: checkpoint {stored.get(name)!r}, experiment {wanted.get(name)!r}"
            for name in sorted(stored.keys() | wanted.keys())
            if stored.get(name) != wanted.get(name)
        ]
    return [f"{key}: checkpoint {stored!r}, experiment {wanted!r}"]
