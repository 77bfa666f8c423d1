"""The regime detectors by name: what ``regimes.detector`` can be set to. A detector is one file of this package, or of a plugin.

Axes: D complete days of the panel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossattn_core.experiment import RegimeSettings
from crossattn_core.regimes.market_days import MarketDays
from crossattn_core.registry import Registry

__all__ = ["DETECTORS", "DetectedStates", "Detector"]


@dataclass(frozen=True)
class DetectedStates:
    """A detector's state of each day, before hysteresis."""

    level_D: NDArray[np.float64]
    """The quantity that decides, larger in stress; NaN while unknown."""
    state_D: NDArray[np.int64]
    """0 calm .. 2 stress; -1 while unknown."""


Detector = Callable[[MarketDays, RegimeSettings], DetectedStates]
"""Day d of the result must be computed from the days up to and including d: later days change no bit of it."""

DETECTORS = Registry[Detector]("regime detector", "crossattn_core.regimes.detectors")
