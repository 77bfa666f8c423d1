"""What is tried when hyper-parameters are tuned: the knobs, their ranges, and how a setting is scored."""

from typing import Self

from pydantic import Field, model_validator

from crossattn_core.experiment.registered import FamilyName
from crossattn_core.experiment.section import Section

__all__ = ["Choice", "TuningSettings"]


class Choice(Section):
    """The values that one knob may take: a range, or a list."""

    low: float | None = None
    """Lower end of a range."""
    high: float | None = None
    """Upper end of a range."""
    log: bool = False
    """The range is searched by ratio."""
    whole: bool = False
    """The range holds whole numbers."""
    values: tuple[bool | int | float | str, ...] = ()
    """A list in place of a range."""

    @model_validator(mode="after")
    def _range_or_list(self) -> Self:
        has_range = self.low is not None and self.high is not None
        if has_range == bool(self.values) or (self.low is None) != (self.high is None):
            raise ValueError("give either low and high, or values")
        if self.low is not None and self.high is not None and not (self.low < self.high and (self.low > 0 or not self.log)):
            raise ValueError(f"low {self.low} must lie under high {self.high}, and above 0 where log is set")
        return self

    @property
    def corners(self) -> tuple[bool | int | float | str, ...]:
        """Every listed value, or both ends of the range."""
        if self.low is None or self.high is None:
            return self.values
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


class TuningSettings(Section):
    """The search: on days before the first test day only."""

    family: FamilyName = Field(default="attention", validate_default=False)
    """The family that is tuned."""
    trials: int = Field(default=20, ge=1, le=10_000)
    """Settings tried in all; the experiment's own are the first."""
    folds: int = Field(default=2, ge=1, le=20)
    """Cut-offs at which each setting is fitted and then scored."""
    judged_share: float = Field(default=0.2, gt=0, le=0.45)
    """Share of the tuning rows that each fold is scored on."""
    seed: int = Field(default=7, ge=0)
    """Which settings are proposed."""
    space: dict[str, Choice] = Field(
        default={
            "training.learning_rate": Choice(low=3e-4, high=3e-3, log=True),
            "training.attention_lr_multiplier": Choice(low=10, high=100, log=True),
            "training.weight_decay": Choice(low=1e-4, high=1e-1, log=True),
            "training.epochs": Choice(low=3, high=12, whole=True),
            "model.dropout": Choice(values=(0.0, 0.1, 0.2)),
            "model.width": Choice(values=(32, 64, 128)),
        },
        min_length=1,
    )
    """Knob ('model.', 'training.' or 'baselines.') -> the values it may take."""

    @model_validator(mode="after")
    def _folds_leave_rows_to_fit(self) -> Self:
        if self.folds * self.judged_share > 0.8:
            raise ValueError(
                f"{self.folds} folds of {self.judged_share:g} leave less than a fifth of the rows to the first fit; lower one"
            )
        return self
