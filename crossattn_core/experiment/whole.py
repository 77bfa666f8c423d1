"""The whole experiment, and how a file becomes one."""

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from crossattn_core.errors import ExperimentError, UniverseError
from crossattn_core.experiment.analysis import AnalysisSettings, ReportSettings
from crossattn_core.experiment.bar_defaults import with_bar_defaults
from crossattn_core.experiment.compute import ComputeSettings
from crossattn_core.experiment.feed import FeedSettings, Period
from crossattn_core.experiment.model import (
    LOSSES_OF_HEAD,
    FeatureSettings,
    LabelSettings,
    ModelSettings,
    TrainingSettings,
)
from crossattn_core.experiment.registered import baselines
from crossattn_core.experiment.retention import RetentionSettings
from crossattn_core.experiment.rolling import RegimeSettings, RetrainSettings, SelectionSettings
from crossattn_core.experiment.section import Section
from crossattn_core.experiment.sections_file import read_sections
from crossattn_core.experiment.trading import BacktestSettings, BaselineSettings, CostSettings, PortfolioSettings, VenueCosts
from crossattn_core.experiment.tuning import TuningSettings
from crossattn_core.grid import Grid
from crossattn_core.universe import VENUES, Asset, Kind, VenueName, asset_names, assets_by_name

__all__ = ["RENAMED", "Experiment", "load_experiment"]

RENAMED = {
    "champion": "selection",
    "training.run": "contiguous_rows",
    "training.own_every": "own_branch_stride",
    "training.logit_rate_multiple": "attention_lr_multiplier",
    "baselines.boosted_least_rows": "boosted_min_rows",
    "baselines.boosted_rate": "boosted_learning_rate",
    "portfolio.belief_caution": "shrinkage_confidence",
    "portfolio.belief_uncertainty": "shrinkage_prior_sd",
    "portfolio.exit_patience": "holding_horizons",
    "labels.max_exit_delay": "max_exit_delay_hours",
    "analysis.most_on_one_source": "max_source_share",
    "analysis.least_entropy": "min_entropy",
    "analysis.most_entropy": "max_entropy",
    "analysis.most_change": "max_change",
}
"""Knobs by an earlier name -> today's: a file with the old one is refused with the new one."""


_MAX_SHOWN = 200
"""Characters of a refused value in a message."""


class Experiment(Section):
    """One experiment: what is read, fitted, traded and reported."""

    not_hashed: ClassVar[frozenset[str]] = frozenset({"compute", "retention"})

    name: str = Field(default="demo", pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    """Names the experiment on the page and in the home's stamp."""
    # Made when they are used: an asset looks its venue up, whose file reads these settings.
    assets: tuple[Asset, ...] = Field(
        default_factory=lambda: (
            Asset(venue="bybit", symbol="BTCUSDT", sector="layer1"),
            Asset(venue="bybit", symbol="ETHUSDT", sector="layer1"),
            Asset(venue="bybit", symbol="SOLUSDT", sector="layer1"),
            Asset(venue="bybit", symbol="XRPUSDT", sector="payments"),
            Asset(venue="bybit", symbol="DOGEUSDT", sector="payments"),
            Asset(venue="bybit", symbol="ADAUSDT", sector="layer1"),
            Asset(venue="yahoo", symbol="AAPL", sector="devices"),
            Asset(venue="yahoo", symbol="NVDA", sector="semiconductors"),
            Asset(venue="yahoo", symbol="AMD", sector="semiconductors"),
            Asset(venue="yahoo", symbol="MSFT", sector="software"),
        ),
        min_length=2,
    )
    """The universe, in the order of the panel's asset axis."""
    grid: Grid = Grid()
    """The rows that everything is aligned to; the defaults of many knobs follow its bar (``experiment/bar_defaults.py``)."""
    period: Period = Period()
    feed: FeedSettings = FeedSettings()
    features: FeatureSettings = FeatureSettings()
    labels: LabelSettings = LabelSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    regimes: RegimeSettings = RegimeSettings()
    retrain: RetrainSettings = RetrainSettings()
    selection: SelectionSettings = SelectionSettings()
    baselines: BaselineSettings = BaselineSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    costs: CostSettings = CostSettings()
    backtest: BacktestSettings = BacktestSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    report: ReportSettings = ReportSettings()
    tuning: TuningSettings = TuningSettings()
    compute: ComputeSettings = ComputeSettings()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="before")
    @classmethod
    def _defaults_follow_the_bar(cls, settings: Any) -> Any:
        return with_bar_defaults(settings) if isinstance(settings, Mapping) else settings

    @field_validator("assets")
    @classmethod
    def _assets_differ(cls, assets: tuple[Asset, ...]) -> tuple[Asset, ...]:
        keys = [asset.asset_id for asset in assets]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is there more than once; a universe names each asset once")
        return assets

    @model_validator(mode="after")
    def _costs_name_the_venues(self) -> Self:
        # In place: the costs are equal to what they were, and now they are written down.
        object.__setattr__(self, "costs", self.costs.with_venues(self.venues))
        return self

    @model_validator(mode="after")
    def _planted_leads_name_assets(self) -> Self:
        if self.feed.kind == "simulated" and "leads" in self.feed.simulated.model_fields_set:
            known = assets_by_name(self.assets).keys()
            for lead in self.feed.simulated.leads:
                for symbol in (lead.leader, lead.follower):
                    if symbol not in known:
                        listed = ", ".join(sorted(known))
                        raise ValueError(f"planted lead names {symbol}, which is not among the assets ({listed})")
        return self

    @model_validator(mode="after")
    def _shared_lake_holds_one_market(self) -> Self:
        if self.feed.lake and self.feed.kind == "simulated":
            raise ValueError(
                "feed.lake: a simulated market is another one for each home; only candles of 'files' and 'api' are shared"
            )
        return self

    @model_validator(mode="after")
    def _candles_make_up_bars(self) -> Self:
        if self.feed.interval is not None and self.grid.step % self.candle_grid.step:
            raise ValueError(
                f"feed.interval {self.feed.interval} does not divide grid.bar {self.grid.bar}; "
                "candles as long as the bar or shorter ones that divide it make up bars"
            )
        return self

    @model_validator(mode="after")
    def _decisions_lie_on_rows(self) -> Self:
        hours, decision = self.grid.hours_per_bar, self.portfolio
        for name, value in (("decision_hour", decision.decision_hour), ("rebalance_every", decision.rebalance_every)):
            if hours > 1 and value % hours:
                raise ValueError(
                    f"portfolio.{name} {value} is no multiple of the bar ({hours:g} hours); rows are {self.grid.words()} apart"
                )
        return self

    @model_validator(mode="after")
    def _loss_suits_head(self) -> Self:
        head, loss, losses = self.model.head, self.training.loss, LOSSES_OF_HEAD[self.model.head]
        if loss not in losses:
            raise ValueError(f"training.loss {loss!r} does not suit model.head {head!r}; choose from {', '.join(losses)}")
        return self

    @model_validator(mode="after")
    def _a_fit_on_a_gpu_is_given_one(self) -> Self:
        if self.compute.engine == "ray" and self.training.device == "cuda" and not self.compute.gpus:
            raise ValueError(
                "training.device is 'cuda' and compute.gpus 0: a fit on Ray sees no GPU; set compute.gpus to 1, or to a part "
                "of one (0.25: four fits share it)"
            )
        return self

    @model_validator(mode="after")
    def _families_are_trained(self) -> Self:
        # The defaults name ridge_var on both sides; whoever changes the families alone need not name the strategies again.
        named = self.baselines.strategies if "strategies" in self.baselines.model_fields_set else ()
        for name in named:
            if name not in self.retrain.families and name not in baselines:
                raise ValueError(f"baselines.strategies names {name!r}, which is not trained; add it to retrain.families")
        return self

    @model_validator(mode="after")
    def _tuning_space_names_knobs_within_bounds(self) -> Self:
        sections = {"model": self.model, "training": self.training, "baselines": self.baselines}
        for name, choice in self.tuning.space.items():
            section, _, knob = name.partition(".")
            if section not in sections or knob not in type(sections[section]).model_fields:
                raise ValueError(f"tuning.space names {name!r}; a knob is 'section.knob' of {', '.join(sections)}")
            for value in choice.corners:
                changed = sections[section].model_dump() | {knob: value}
                try:
                    type(sections[section]).model_validate(changed)
                except ValidationError as error:
                    raise ValueError(f"tuning.space, {name} = {value!r}: {error.errors()[0]['msg']}") from error
        return self

    @property
    def candle_grid(self) -> Grid:
        """The grid of the candles that are fetched: ``feed.interval``, or the experiment's own."""
        return self.grid if self.feed.interval is None else Grid(bar=self.feed.interval)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols in panel order; an asset whose symbol another one shares goes by its key."""
        return asset_names(self.assets)

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """Asset keys in panel order."""
        return tuple(asset.asset_id for asset in self.assets)

    @property
    def venues(self) -> tuple[VenueName, ...]:
        """The venues that the universe uses, by name."""
        used = {asset.venue for asset in self.assets}
        return tuple(venue for venue in VENUES.names() if venue in used)

    @property
    def publication_lag(self) -> timedelta:
        """How long after a day's end its newest candle is known: the longest lag of the venues that the universe uses."""
        return max(self.feed.publication_lag(venue) for venue in self.venues)

    @property
    def candle_stages(self) -> tuple[str, ...]:
        """The stages at which data enters: candles by venue, and funding by venue where it has perpetuals."""
        funding = (f"candles/{venue}_funding" for venue in self.venues_with("funding"))
        return (*(f"candles/{venue}" for venue in self.venues), *funding)

    def venues_with(self, kind: Kind) -> tuple[VenueName, ...]:
        """The venues of those assets that have a series of ``kind``, by name."""
        return tuple(venue for venue in self.venues if any(kind in asset.series for asset in self.assets_on(venue)))

    def assets_on(self, venue: VenueName) -> tuple[Asset, ...]:
        """The assets of one venue, in panel order."""
        return tuple(asset for asset in self.assets if asset.venue == venue)

    def select(self, symbols: tuple[str, ...]) -> "Experiment":
        """The same experiment on fewer symbols (or keys); an unknown one is refused with the nearest known."""
        named = assets_by_name(self.assets)
        for symbol in symbols:
            if symbol not in named:
                near = difflib.get_close_matches(symbol, self.symbols, n=1, cutoff=0.0)
                raise UniverseError(
                    f"{symbol} is not in experiment {self.name!r} ({', '.join(self.symbols)}); did you mean {near[0]}? "
                    "Add it under 'assets' in the experiment file to use it."
                )
        chosen = [named[symbol] for symbol in symbols]
        if len(set(chosen)) < 2:
            raise UniverseError(f"{', '.join(symbols)} alone has nothing to attend to; name at least two symbols")
        settings = self.model_dump()
        settings["assets"] = [asset.model_dump() for asset in self.assets if asset in chosen]
        market = settings["feed"]["simulated"]
        keys = {name for name, asset in named.items() if asset in chosen}
        market["leads"] = [lead for lead in market["leads"] if {lead["leader"], lead["follower"]} <= keys]
        return Experiment.model_validate(settings)


def load_experiment(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment file (only differences from the defaults) and lay ``overrides`` over it.

    Args:
        path: YAML file; none gives the defaults.
        overrides: nested like the file, for instance ``{"training": {"epochs": 2}}``.

    Raises:
        ExperimentError: the file is missing, is not a mapping, or a knob is unknown or out of bounds. Every
            fault is named at once, with the nearest valid name for a typo.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        settings = read_sections(path)
    for section, value in (overrides or {}).items():
        settings[section] = _merged(settings.get(section), value)
    try:
        experiment = Experiment.model_validate(settings)
    except ValidationError as error:
        where = str(path) if path is not None else "experiment"
        lines = [_explained(detail["loc"], detail["type"], detail["msg"], detail.get("input")) for detail in error.errors()]
        raise ExperimentError(f"{where}: " + "\n".join(lines)) from error
    if path is None:
        return experiment
    # Folders are named from where the file lies.
    named = {"folder": experiment.feed.folder if experiment.feed.kind == "files" else "", "lake": experiment.feed.lake}
    moved = {knob: str((path.parent / name).resolve()) for knob, name in named.items() if name and not Path(name).is_absolute()}
    return experiment.model_copy(update={"feed": experiment.feed.model_copy(update=moved)}) if moved else experiment


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, Mapping):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return above


def _explained(location: tuple[int | str, ...], kind: str, message: str, given: Any) -> str:
    name = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        where = f"{name}: " if name else ""
        return f"{where}{message.removeprefix('Value error, ')}" + (
            "" if isinstance(given, dict) else f" (given: {_shown(given)})"
        )
    if name in RENAMED:
        return f"{name}: is called {RENAMED[name]!r} now; the meaning is the same"
    fields = _fields_at(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), fields, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{name}: no such knob; {hint}Known here: {', '.join(sorted(fields))}"


def _shown(given: Any) -> str:
    """A value as a message shows it: short, and without what an address says before its host and after its path."""
    text = re.sub(r"//[^/@\s]*@", "//...@", repr(given))
    text = re.sub(r"(://[^\s'\"?#]*)[?#][^\s'\"]*", r"\1?...", text)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} ... ({len(text)} characters)"


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Experiment
    for part in location:
        if isinstance(part, int):
            continue
        if part not in model.model_fields:
            model = VenueCosts  # costs.<venue>
            continue
        annotation = model.model_fields[part].annotation
        inner = [arg for arg in getattr(annotation, "__args__", (annotation,)) if isinstance(arg, type)]
        model = next((arg for arg in inner if issubclass(arg, BaseModel)), model)
    return list(model.model_fields)
