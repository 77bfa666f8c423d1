"""How long a home keeps what can be made again, or is only looked at."""

from typing import ClassVar

from pydantic import Field

from crossattn_core.experiment.section import Section

__all__ = ["RetentionSettings"]


class RetentionSettings(Section):
    """Newest days that 'crossattn prune' leaves alone; 0: for ever. What candles, forecasts and receipts say is always kept."""

    not_hashed: ClassVar[frozenset[str]] = frozenset({"model_days", "snapshot_days", "report_days", "run_days", "log_days"})

    model_days: int = Field(default=0, ge=0, le=36_500)
    """Days whose models keep their weights; older models keep their manifest, and are fitted again where they are needed."""
    snapshot_days: int = Field(default=0, ge=0, le=36_500)
    """Days as of which leaders and page can be made again: the next-bar forecasts of their windows are kept."""
    report_days: int = Field(default=0, ge=0, le=36_500)
    """Days whose page is kept; the newest one always is."""
    run_days: int = Field(default=0, ge=0, le=36_500)
    """Days for which Dagster keeps runs that no asset's state rests on any more, and events that later ones replaced."""
    log_days: int = Field(default=0, ge=0, le=36_500)
    """Days for which Dagster keeps the log of a run, what its steps wrote, and pictures of what was made again since."""
