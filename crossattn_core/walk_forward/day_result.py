"""What a day of the walk-forward gives, and the calls that it is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from crossattn_core.experiment import Experiment
from crossattn_core.families.fitted import EpochReport, FittedModel
from crossattn_core.walk_forward.store import plan_frame

__all__ = ["DayResult", "EpochOfDay", "Fit", "Load"]

Fit = Callable[..., FittedModel]
"""Same call as ``fit_model(family, request, experiment, *, report)``."""
Load = Callable[[Path, Experiment], FittedModel]
"""Same call as ``load_model(folder, experiment)``."""


@dataclass(frozen=True)
class EpochOfDay:
    """One epoch of one family's fit on one day, as it ends."""

    day: date
    family: str
    epoch: EpochReport


@dataclass(frozen=True)
class DayResult:
    """What a day gave."""

    day: date
    reused: bool
    """Whether the stored day still stood."""
    rows: list[dict[str, Any]]
    """The plan, one row a family, as stored."""
    trained: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Manifest by family of the models fitted on this day."""
    epochs: dict[str, list[EpochReport]] = field(default_factory=dict)
    """Loss curve by family of the models fitted on this day."""
    forecast_rows: int = 0
    seconds: float = 0.0
    """Time spent on the day; reported, never stored."""

    @property
    def plan(self) -> pd.DataFrame:
        """The plan, one row a family (``PLAN_COLUMNS``)."""
        return plan_frame(self.rows)

    @property
    def action(self) -> str:
        """'retrain', 'carry' or 'wait'."""
        return self.rows[0]["action"]

    @property
    def reason(self) -> str:
        """Why: see ``training.plan.Reason``."""
        return self.rows[0]["reason"]
