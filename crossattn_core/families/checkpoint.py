"""Checkpoints: safetensors for the arrays, one JSON manifest for everything else. Nothing is ever unpickled.

<folder>/weights.safetensors   arrays by name
<folder>/manifest.json         written last: a folder without it is no checkpoint

A model that served long ago may keep its manifest alone (see retention.py); it can be fitted again, and comes out the same.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from crossattn_core import __version__
from crossattn_core.errors import CheckpointError, PrunedModelError
from crossattn_core.experiment import Experiment
from crossattn_core.experiment.section import Section
from crossattn_core.storage import sha256_of, write_bytes, write_json

__all__ = [
    "FORMAT",
    "check_fits",
    "has_weights",
    "model_id_of",
    "read_checkpoint",
    "read_manifest",
    "stamp",
    "weights_path",
    "write_checkpoint",
]

FORMAT = 1
"""Layout of a checkpoint; another one is refused."""

_COMPARED = ("family", "universe", "features", "horizons", "execution_lag", "model")
"""Keys of a manifest without which a checkpoint cannot serve an experiment; 'model' where the family has a network."""

_NOT_IDENTITY = ("model_id", "weights_sha256", "code_version", "computed_on")
"""Keys of a manifest that are no part of what the model is."""

_WEIGHTS, _MANIFEST = "weights.safetensors", "manifest.json"


def stamp(family: str, experiment: Experiment, knobs: Sequence[str]) -> dict[str, Any]:
    """The part of a manifest that names what a model was made for; the experiment is already adapted to the family.

    It holds what the family depends on (its ``Family.knobs``) and nothing else: an experiment with another name, feed folder
    or period that comes to the same rows has the same models.
    """
    stamped: dict[str, Any] = {
        "format": FORMAT,
        "family": family,
        "code_version": __version__,
        "universe": list(experiment.asset_ids),
        "features": list(experiment.features.names),
        "horizons": list(experiment.labels.horizons),
        "execution_lag": experiment.labels.execution_lag,
        "max_exit_delay_hours": experiment.labels.max_exit_delay_hours,
        "max_age_hours": experiment.features.max_age_hours,
    }
    for name in knobs:
        section, _, knob = name.partition(".")
        held: Section = getattr(experiment, section)
        values = {name: value for name, value in held.model_dump(mode="json").items() if name not in held.not_hashed}
        stamped[section] = stamped.get(section, {}) | ({knob: values[knob]} if knob else values)
    return stamped


def model_id_of(arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> str:
    """Sixteen hex digits over weights and manifest: equal ids mean equal models."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(array.tobytes())
    identity = {key: value for key, value in manifest.items() if key not in _NOT_IDENTITY}
    digest.update(json.dumps(identity, sort_keys=True, allow_nan=False).encode())
    return digest.hexdigest()[:16]


def write_checkpoint(folder: Path, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> Path:
    """Write ``folder`` so that a reader sees a whole checkpoint or none."""
    content = save_arrays({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})
    write_bytes(folder / _WEIGHTS, content)
    write_json(folder / _MANIFEST, {**manifest, "weights_sha256": sha256_of(content)})
    return folder


def weights_path(folder: Path) -> Path:
    """The file of a checkpoint's arrays."""
    return folder / _WEIGHTS


def has_weights(folder: Path) -> bool:
    """Whether the model in ``folder`` has its weights, and so have its members where it is an ensemble."""
    path = folder / _MANIFEST
    if not path.is_file() or not weights_path(folder).is_file():
        return False
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError:
        return False  # damaged: it is fitted again
    if not isinstance(manifest, dict) or "family" not in manifest:
        return False
    # Nothing else is asked of it: a family may have a layout of its own.
    return all(has_weights(folder.parent / member) for member in manifest.get("members", ()))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in ``folder``, whether the weights are kept or not.

    Raises:
        CheckpointError: missing, damaged, or of another layout.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {_MANIFEST}, so no checkpoint; train the model again or name another folder")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: damaged checkpoint ({error!r}); restore it or train again") from error
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path}: damaged (it holds a {type(manifest).__name__}); restore it or train again")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{folder}: layout {manifest.get('format')!r}, this code reads {FORMAT}; train the model again")
    return manifest


def read_checkpoint(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the manifest in ``folder``.

    Raises:
        PrunedModelError: there is a manifest and no weights.
        CheckpointError: missing, damaged, or of another layout.
    """
    manifest = read_manifest(folder)
    try:
        content = weights_path(folder).read_bytes()
        if sha256_of(content) != manifest["weights_sha256"]:
            raise CheckpointError(f"{folder / _WEIGHTS}: bytes differ from the manifest's hash; restore it or train again")
        return load_arrays(content), manifest
    except FileNotFoundError as error:
        raise PrunedModelError(
            f"{folder}: its weights are no longer kept (retention.model_days); the walk fits it again"
        ) from error
    except (OSError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: damaged checkpoint ({error!r}); restore it or train again") from error


def check_fits(
    manifest: Mapping[str, Any], family: str, experiment: Experiment, knobs: Sequence[str], *, folder: Path | str = "checkpoint"
) -> None:
    """Refuse a checkpoint that was made for something else.

    Raises:
        CheckpointError: family, universe, features, horizons or network differ; each difference is spelled out.
    """
    expected = stamp(family, experiment, knobs)
    compared = [key for key in _COMPARED if key in expected]
    differences = [line for key in compared for line in _differences(key, manifest.get(key), expected[key])]
    if differences:
        raise CheckpointError(
            f"{folder} does not fit experiment {experiment.name!r}:\n  "
            + "\n  ".join(differences)
            + "\nTrain again, or run the experiment that the checkpoint was made for."
        )


def _differences(key: str, stored: Any, expected: Any) -> list[str]:
    if stored == expected:
        return []
    if isinstance(stored, list) and isinstance(expected, list):
        only_stored = [item for item in stored if item not in expected]
        only_expected = [item for item in expected if item not in stored]
        if not only_stored and not only_expected:
            return [f"{key}: same entries in another order: checkpoint {stored}, experiment {expected}"]
        return [f"{key}: only in the checkpoint {only_stored}, only in the experiment {only_expected}"]
    if isinstance(stored, dict) and isinstance(expected, dict):
        return [
            f"{key}.{name}: checkpoint {stored.get(name)!r}, experiment {expected.get(name)!r}"
            for name in sorted(stored.keys() | expected.keys())
            if stored.get(name) != expected.get(name)
        ]
    return [f"{key}: checkpoint {stored!r}, experiment {expected!r}"]
