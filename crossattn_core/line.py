"""One experiment in one home, and its stages, in the order in which candles flow.

``data_stages``, from feed to panel:

    ingest_candles, ingest_funding      a feed's candles with dividends, and settlements -> the lake
    build_table                         the lake -> one SQL model in DuckDB
    export_windows                      DuckDB -> the panel, validated

``model_stages``, from panel to page:

    find_regimes                        the panel -> regime windows
    train                               the panel -> one checkpoint over a chosen range
    watch                               regime, drift, rolling IC, what the plan makes of the newest day
    tune                                the panel before the first test day -> hyper-parameters
    walk_forward                        day by day: retrain or carry, then forecast the day
    snapshot_attention                  who attended to whom on each day
    decide_weights                      forecasts and baselines -> target weights, the champion's among them
    write_report                        weights -> simulated trading -> the page

Every stage is one function of (line, days). It is idempotent, leaves a receipt for each partition (see staleness.py) of what was
there when it began, and never writes into an earlier day. Dagster wraps these functions; tests call them without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

from crossattn_core.candles.feeds.feed import VenueFeeds, newest_complete_day
from crossattn_core.candles.feeds.registry import open_feed, wall_clock
from crossattn_core.candles.lake.store import Lake
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.panel.panel import Panel
from crossattn_core.panel.store import open_panel
from crossattn_core.progress import Report, silent
from crossattn_core.receipts import MadeFrom, Receipts, hash_of_values
from crossattn_core.stages import StageTable, stage_table
from crossattn_core.staleness import WHOLE, Staleness
from crossattn_core.warehouse.models import load_project
from crossattn_core.warehouse.project import Project

__all__ = ["Line"]


@dataclass
class Line:
    """One experiment in one home; ``report`` receives progress."""

    experiment: Experiment
    home: Home
    report: Report = silent
    clock: Callable[[], datetime] = wall_clock
    """Aware UTC; read for feeds without a clock of their own and for the newest day of an open period."""

    @cached_property
    def lake(self) -> Lake:
        """The raw candles of this experiment's feed and candle length."""
        root = Path(self.experiment.feed.lake) if self.experiment.feed.lake else self.home.lake
        return Lake(root, self.experiment.feed.kind, self.experiment.candle_grid)

    @cached_property
    def project(self) -> Project:
        """The SQL models, in order."""
        return load_project()

    @cached_property
    def receipts(self) -> Receipts:
        """What each partition was made from."""
        return Receipts(self.home.receipts)

    @property
    def last_day(self) -> date:
        """The period's last day; for an open period the newest complete day by the clock."""
        if self.experiment.period.end is not None:
            return self.experiment.period.end
        return newest_complete_day(self.clock(), self.experiment.publication_lag)

    @cached_property
    def stages(self) -> StageTable:
        """The table of stages of this experiment."""
        return stage_table(self.experiment, self.project)

    @property
    def staleness(self) -> Staleness:
        """What each partition should have been made from, as of now."""
        return Staleness(self.stages, self.home, self.lake, self.receipts, self.last_day)

    def codes_of(self, stage: str) -> tuple[str, ...]:
        """Hash of the code that a stage runs today, then those of versions that were accepted as giving the same."""
        code = self.stages.code_hash(self.stages[stage])
        return (code, *sorted(self.staleness.codes_like(stage) - {code}))

    def knobs_hash_of(self, stage: str) -> str:
        """Hash of the knobs that a stage depends on."""
        return hash_of_values(self.stages.knobs_of(self.stages[stage]))

    def feed(self) -> VenueFeeds:
        """A fresh connection to the source of candles."""
        return open_feed(self.experiment, clock=self.clock)

    def panel(self, last: date | None = None) -> Panel:
        """The exported panel, up to ``last``."""
        return open_panel(self.home, self.experiment, last=last)

    def made_from(self, stage: str) -> dict[str, MadeFrom]:
        """Key -> what each partition of a stage is made from as of now.

        A stage asks before it reads anything: an input that another process changes meanwhile makes the result stale.
        """
        return self.staleness.recordable(stage)

    def record(self, stage: str, outputs: dict[date, str], made_from: Mapping[str, MadeFrom]) -> None:
        """Leave a receipt for each day of a dated stage: what it was ``made_from``, and what it came to."""
        self._record(stage, {day.isoformat(): output for day, output in outputs.items()}, made_from)

    def record_whole(self, stage: str, output: str, made_from: Mapping[str, MadeFrom]) -> None:
        """Leave the receipt of a stage without partitions."""
        self._record(stage, {WHOLE: output}, made_from)

    def _record(self, stage: str, outputs: dict[str, str], made_from: Mapping[str, MadeFrom]) -> None:
        row = self.stages[stage]
        made = [(key, made_from[key], output) for key, output in outputs.items() if key in made_from]
        self.receipts.record(stage, made, [self.stages.code_of(row), self.stages.knobs_of(row)])
