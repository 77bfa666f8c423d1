"""What a walk-forward day is made from, as hashes.

Axes: T bars of the panel.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np

from crossattn_core.experiment import Experiment
from crossattn_core.families.checkpoint import FORMAT
from crossattn_core.panel.panel import Panel
from crossattn_core.receipts import combined_hash, hash_of_values
from crossattn_core.stages import FORECAST_KNOBS, knob_values
from crossattn_core.walk_forward.overrides import Override

__all__ = ["DayInputs", "canonical", "day_inputs", "panel_chain", "settings_hash"]

_FORMAT = "walk-forward 4"
"""Raise it when a stored day means something else than before."""


class DayInputs(NamedTuple):
    """Hashes of what a day is made from."""

    models: str
    """Of the decision and the fits at 00:00: settings, code, the panel until then, the day before, the day's overrides."""
    forecasts: str
    """Of the same and of the day's own rows, which the models in force read."""


def day_inputs(
    day: date, chain: dict[date, str], settings: str, previous_plan_hash: str, overrides: Sequence[Override]
) -> DayInputs:
    """Hash what ``day`` is made from: ``panel_chain`` up to it, ``settings_hash``, the plan of the day before ('' on the first
    day), and the day's own overrides.
    """
    before = chain.get(day - timedelta(days=1), "")
    models = combined_hash(settings, before, previous_plan_hash, *(canonical(asdict(override)) for override in overrides))
    return DayInputs(models, combined_hash(models, chain[day]))


def panel_chain(panel: Panel) -> dict[date, str]:
    """Day -> hash of every value of the panel up to and including that day's rows.

    Made from the values themselves: two panels that agree up to a day have equal hashes up to that day, whatever
    follows. A last day that is not complete has a hash too; it changes when the day does.
    """
    arrays = panel.row_arrays
    digest = hashlib.blake2b(digest_size=16)
    digest.update("\n".join((*panel.asset_ids, "", *panel.features, "", *arrays)).encode())
    chain: dict[date, str] = {}
    bars = panel.grid.bars_per_day
    for start in range(0, len(panel.as_of_T), bars):
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array[start : start + bars]).tobytes())
        chain[(panel.as_of_T[start] - panel.grid.step_us).astype("datetime64[D]").item()] = digest.hexdigest()
    return chain


def settings_hash(experiment: Experiment, code: str = "") -> str:
    """Hash of what decides a walk-forward day beside the panel: the knobs that it reads, and the code's hash ('' for none)."""
    return combined_hash(_FORMAT, str(FORMAT), code, hash_of_values(knob_values(experiment, FORECAST_KNOBS)))


def canonical(value: Any) -> str:
    """JSON in one spelling: keys sorted, no spaces, dates in ISO form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
