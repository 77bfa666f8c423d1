"""One row of the table of stages: what a stage reads and writes, what it depends on, and the rule of its days."""

from dataclasses import dataclass
from enum import Enum

__all__ = ["DayRule", "Output", "Stage"]


class DayRule(Enum):
    """How a stage is partitioned, and which partitions of its inputs one of its own is made from."""

    CHAINED = "chained"
    """Daily; from the inputs of that day and of every day before: a time-window mapping that is open at its start."""
    ALONE = "alone"
    """Daily; from the inputs of that day: the identity mapping."""
    WHOLE = "whole"
    """Not partitioned; from all of its inputs."""
    ON_REQUEST = "on request"
    """Not partitioned; made on request, or beside what reads it, and never stale."""


@dataclass(frozen=True)
class Output:
    """One asset that a stage writes."""

    key: str
    """Asset key, for instance ``candles/bybit``."""
    reads: tuple[str, ...]
    """Asset keys of what is read to make it: its dependencies in Dagster."""
    behind: tuple[str, ...] = ()
    """Asset keys of days that are read through the views among ``reads``: dependencies too, since a view has no days whose
    version Dagster could compare, and may be left out of a run that has to be in order all the same."""


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    name: str
    group: str
    """Group of its assets in the web UI."""
    job: str
    """``data`` (up to the panel) or ``models`` (from there on)."""
    rule: DayRule
    run: str
    """``module.function`` that makes its partitions."""
    outputs: tuple[Output, ...]
    knobs: tuple[str, ...]
    """Dotted names of sections or knobs of the experiment; ``*`` is all of them."""
    external_inputs: tuple[str, ...] = ()
    """Inputs that no stage makes: ``overrides`` (a person's, of the walk-forward), ``trials`` (of tuning)."""
    is_asset: bool = True
    """Whether Dagster shows it; the raw tables are brought up to date by whoever reads them."""
    sql: tuple[str, ...] = ()
    """SQL models whose code it runs: its own and those that it reads."""
    day_files: tuple[str, ...] = ()
    """Files within the home, ``{day}`` for the day: without one of them a day of the stage counts as never made."""

    @property
    def is_dated(self) -> bool:
        """Whether its partitions are days."""
        return self.rule in (DayRule.CHAINED, DayRule.ALONE)

    @property
    def is_in_warehouse(self) -> bool:
        """Whether what it makes lies in DuckDB, and is gone with that file."""
        return self.name == "raw" or (bool(self.sql) and self.name != "feature_windows")

    @property
    def keys(self) -> tuple[str, ...]:
        """Asset keys of its outputs, in order."""
        return tuple(output.key for output in self.outputs)

    @property
    def reads(self) -> tuple[str, ...]:
        """Asset keys that it reads, also through views, and does not write itself."""
        read = (key for output in self.outputs for key in (*output.reads, *output.behind))
        return tuple(dict.fromkeys(key for key in read if key not in self.keys))
