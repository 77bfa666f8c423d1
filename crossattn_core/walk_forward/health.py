"""Whether a fitted model may serve.

Axes: R newest rows before the cut-off, H heads, N targets, M sources, L lags.
"""

import math
from typing import NamedTuple

import numpy as np

from crossattn_core.families.fitted import FittedModel
from crossattn_core.panel.panel import Panel

__all__ = ["Health", "check_health"]

_ROWS = 96
_MAX_PEAK_SHARE = 0.999
"""Share of all attention on one source and lag, averaged over targets, beyond which it has collapsed."""


class Health(NamedTuple):
    """A verdict with its reason."""

    healthy: bool
    why: str


def check_health(
    model: FittedModel, panel: Panel, cut_off: int, *, drift: float = math.nan, max_drift: float = math.inf
) -> Health:
    """Check ``model`` on the newest rows that it was allowed to know.

    Unhealthy: newest features too far from the rows that it was fitted on, a validation loss or a forecast that is not finite,
    nothing forecast at all, forecasts that never move where the fit did not choose to forecast nothing, or attention on a single
    source and lag for every target.

    Args:
        drift: population-stability index of the newest features against the training rows; NaN where nothing can be compared.
        max_drift: beyond it the model never serves.
    """
    if drift > max_drift:
        why = f"stability index {drift:.3f} when fitted, at most {max_drift:g} serves"
        return Health(False, f"features drifted beyond bounds: {why}")
    loss = model.manifest.get("validation_loss")
    if loss is not None and not math.isfinite(loss):
        return Health(False, f"validation loss is {loss}")
    rows = np.arange(max(cut_off + 1 - _ROWS, 0), cut_off + 1)
    weight_RN = model.weights(panel, rows)
    forecast_RNH = model.forecast(panel, rows) if weight_RN is None else weight_RN[..., None]
    if np.isinf(forecast_RNH).any():
        return Health(False, f"{int(np.isinf(forecast_RNH).sum())} infinite forecasts in the newest {len(rows)} rows")
    known_RN = np.isfinite(forecast_RNH).all(axis=-1)
    if not known_RN.any():
        return Health(False, f"no asset has a forecast in the newest {len(rows)} rows")
    largest_move = float(np.nanmax(np.nanstd(forecast_RNH[:, known_RN.any(axis=0)], axis=0)))
    if len(rows) > 1 and largest_move == 0.0 and not model.found_nothing:
        return Health(False, f"forecasts of the newest {len(rows)} rows never move")
    candidates = model.candidate_attention(panel, rows[-24:])
    attention = None if candidates is not None else model.attention(panel, rows[-24:])
    weight_RHN = candidates.weight_RHNK if candidates is not None else None if attention is None else attention.weight_RHNML
    if weight_RHN is not None:
        weight_N = weight_RHN.mean(axis=(0, 1))
        if not np.isfinite(weight_N).all():
            return Health(False, "attention weights are not finite")
        weight_NS = weight_N.reshape(len(weight_N), -1)
        peak_N, total_N = weight_NS.max(axis=1), weight_NS.sum(axis=1)
        read_N = total_N > 0
        if read_N.sum() > 1 and float((peak_N[read_N] / total_N[read_N]).min()) > _MAX_PEAK_SHARE:
            return Health(False, "attention collapsed: every target reads one source at one lag")
    return Health(True, "")
