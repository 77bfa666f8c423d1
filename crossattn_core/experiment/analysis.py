"""The knobs of attention analysis and of the report."""

from pydantic import Field

from crossattn_core.experiment.section import Section

__all__ = ["AnalysisSettings", "ReportSettings"]


class AnalysisSettings(Section):
    """Attention snapshots and the gate in front of a leader's name."""

    permutations: int = Field(default=200, ge=20, le=10_000)
    """Shifts in the null of each pair's lagged correlation."""
    window_days: int = Field(default=180, ge=14, le=3650)
    """Newest days that a leader's name rests on."""
    max_lag: int = Field(default=24, ge=1, le=168)
    """Hours of lead that are tested."""
    max_source_share: float = Field(default=0.9, gt=0, le=1)
    """Share of all attention on one source beyond which it counts as collapsed."""
    min_entropy: float = Field(default=0.05, ge=0, lt=1)
    """Mean entropy over its largest value under which attention counts as collapsed."""
    max_entropy: float = Field(default=0.995, gt=0, le=1)
    """Mean entropy over its largest value above which attention counts as uniform."""
    max_change: float = Field(default=0.5, gt=0, le=1)
    """Share of attention that may move between two days before it is flagged."""
    false_discovery_rate: float = Field(default=0.05, gt=0, lt=0.5)
    """Expected share of false ones among the pairs whose lagged correlation passes."""
    minimum_ic_gain: float = Field(default=0.0, ge=0)
    """IC beside the same model without cross-attention that a named leader needs."""


class ReportSettings(Section):
    """The page."""

    title: str = "crossattn"
    """Heading of the report's page."""
    owner: str = "research"
    """Shown on assets and on the report."""
