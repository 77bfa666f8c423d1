"""What each partition of each stage must have been made from, today; and so which are stale.

Inputs are chained: the hash of day D covers every upstream day up to D. A late candle makes its own day and all
later ones stale, and nothing before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path

from crossattn_core.candles.lake.store import Lake
from crossattn_core.days import days_between
from crossattn_core.experiment import Experiment
from crossattn_core.home import Home
from crossattn_core.panel.store import chain_hash
from crossattn_core.receipts import Receipts, combined_hash
from crossattn_core.walk_forward.fingerprint import settings_hash
from crossattn_core.walk_forward.overrides import read_overrides
from crossattn_core.warehouse.project import Project

__all__ = ["DATED_STAGES", "WHOLE", "WHOLE_STAGES", "Staleness", "source_hash"]

WHOLE = "all"
"""The key of a stage that has no partitions."""

WHOLE_STAGES = ("regime_windows", "monitoring", "target_weights", "backtest_report")
"""Stages made as a whole."""

DATED_STAGES = ("walk_forward", "attention_snapshot")
"""Stages by day that read the panel."""


@cache
def source_hash(*parts: str) -> str:
    """Hash of the source files of packages or modules of crossattn_core, for instance ``('regimes', 'report/page.py')``."""
    root = Path(__file__).parent
    files = sorted(path for part in parts for path in ((root / part).rglob("*.py") if (root / part).is_dir() else [root / part]))
    return combined_hash(*(piece for path in files for piece in (str(path.relative_to(root)), path.read_text(encoding="utf-8"))))


@dataclass(frozen=True)
class Staleness:
    """Today's inputs of every partition, beside the receipts of what was made."""

    experiment: Experiment
    home: Home
    lake: Lake
    project: Project
    receipts: Receipts
    last_day: date

    @cached_property
    def days(self) -> list[date]:
        """Every day of the experiment that is over."""
        return list(days_between(self.experiment.period.start, self.last_day))

    def expected(self, stage: str) -> dict[str, str]:
        """Receipt key -> hash of the inputs that the partition should have been made from."""
        if stage in WHOLE_STAGES:
            return {WHOLE: self._whole(stage)}
        return {day.isoformat(): inputs for day, inputs in self._dated(stage).items()}

    def stale_days(self, stage: str, last: date | None = None) -> list[date]:
        """The days (up to ``last``) of a dated stage whose receipt is missing or made from something else."""
        stale = (date.fromisoformat(key) for key in self.receipts.stale(stage, self.expected(stage)))
        return sorted(day for day in stale if last is None or day <= last)

    def is_stale(self, stage: str) -> bool:
        """Whether a stage without partitions has to be made again."""
        return bool(self.receipts.stale(stage, self.expected(stage)))

    def _dated(self, stage: str) -> dict[date, str]:
        if stage.startswith("candles/"):
            return dict.fromkeys(self.days, self._asked(stage.removeprefix("candles/")))
        if stage == "raw":
            return {day: combined_hash(self._universe, value) for day, value in self._lake_days.items()}
        if stage == "feature_windows":
            made_by = combined_hash(self._code_of("features.panel_rows"), *self.experiment.features.names)
            return self._chained(made_by, self._lake_days)
        if stage == "walk_forward":
            return self._stepped()
        if stage == "attention_snapshot":
            made_by = combined_hash(source_hash("analysis"), self.experiment.analysis.content_hash())
            stepped = {date.fromisoformat(key): value for key, value in self.receipts.outputs("walk_forward").items()}
            return {day: combined_hash(made_by, stepped.get(day, "")) for day in self.days}
        return self._chained(self._code_of(stage), self._lake_days)

    def _whole(self, stage: str) -> str:
        panel = next(reversed(self._panel_chain.values()), "")
        if stage == "regime_windows":
            return combined_hash(source_hash("regimes"), self.experiment.regimes.content_hash(), panel)
        forecasts = combined_hash(*(value for _, value in sorted(self.receipts.outputs("walk_forward").items())))
        if stage == "monitoring":
            asked = combined_hash(settings_hash(self.experiment), repr(read_overrides(self.home)))
            return combined_hash(source_hash("walk_forward", "selection"), asked, panel, forecasts)
        sections = (
            self.experiment.portfolio,
            self.experiment.baselines,
            self.experiment.labels,
            self.experiment.costs,
            self.experiment.selection,
            self.experiment.backtest,
        )
        weights = combined_hash(
            source_hash("portfolio", "backtest", "selection"), panel, forecasts, *(section.content_hash() for section in sections)
        )
        if stage == "target_weights":
            return weights
        snapshots = combined_hash(*(value for _, value in sorted(self.receipts.outputs("attention_snapshot").items())))
        made_by = source_hash("analysis", "backtest", "report", "regimes")
        return combined_hash(weights, snapshots, self.experiment.content_hash(), made_by)

    def _asked(self, venue: str) -> str:
        feed = self.experiment.feed
        assets = [asset.asset_id for asset in self.experiment.assets if venue.startswith(asset.venue)]
        made_by = (
            source_hash("candles/feeds/simulated.py", "candles/feeds/simulated_market.py") if feed.kind == "simulated" else ""
        )
        return combined_hash(feed.content_hash(), made_by, *assets)

    def _code_of(self, model: str) -> str:
        versions = self.project.code_versions
        return combined_hash(self._universe, versions[model], *(versions[name] for name in self.project.upstream(model)))

    @cached_property
    def _universe(self) -> str:
        lag = sorted(self.experiment.feed.publication_lag_seconds.items())
        return combined_hash(*(asset.model_dump_json() for asset in self.experiment.assets), repr(lag), self._max_age)

    @property
    def _max_age(self) -> str:
        return str(self.experiment.features.max_age_hours)

    @cached_property
    def _lake_days(self) -> dict[date, str]:
        first, last = self.days[0], self.days[-1]
        venues = sorted({asset.venue for asset in self.experiment.assets})
        parts = [self.lake.day_hashes(venue, first, last) for venue in venues]
        parts += [self.lake.day_hashes(venue, first, last, kind=kind) for venue in venues for kind in ("funding", "dividends")]
        return {day: combined_hash(*(part.get(day, "") for part in parts)) for day in self.days}

    @cached_property
    def _panel_chain(self) -> dict[date, str]:
        return chain_hash(self.home, self.experiment)

    def _stepped(self) -> dict[date, str]:
        settings, events = settings_hash(self.experiment), read_overrides(self.home)
        stepped: dict[date, str] = {}
        for day in self.days:
            # An event rewrites its own day and those after it, nothing before.
            made_by = combined_hash(settings, repr([event for event in events if event.day <= day]))
            stepped[day] = combined_hash(made_by, self._panel_chain.get(day, ""))
        return stepped

    def _chained(self, made_by: str, upstream: Mapping[date, str]) -> dict[date, str]:
        chained: dict[date, str] = {}
        before = made_by
        for day in self.days:
            before = combined_hash(before, upstream[day])
            chained[day] = before
        return chained
