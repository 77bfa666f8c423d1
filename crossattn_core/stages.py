"""The one table of stages: what each reads, which knobs it depends on, which code it runs, by which rule its days follow from
what it reads, and what it writes.

Everything that must know a stage derives it from here: staleness and its reasons, the order of launches, Dagster's dependencies,
asset specs and code versions, the result tables that marts read, and the picture of the graph in the docs.

    candles/<venue>, <table>, feature_windows        days, up to the panel           (data_stages.py)
    walk_forward, attention_snapshot                 days, from the panel on         (model_stages.py)
    regime_windows, monitoring, target_weights,
    backtest_report                                  as a whole
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from crossattn_core.code_hash import CodeIndex, code_index, plugin_parts
from crossattn_core.experiment import Experiment, Section
from crossattn_core.receipts import combined_hash, hash_of_values
from crossattn_core.sql_stages import filled_by, model_key, reads_results, sql_stage
from crossattn_core.stage import DayRule, Output, Stage
from crossattn_core.warehouse.project import Project

__all__ = [
    "FORECAST_KNOBS",
    "StageTable",
    "knob_values",
    "stage_table",
]


@dataclass(frozen=True, eq=False)
class StageTable:
    """The stages of one experiment, each after what it reads. Two tables are two: what is derived from one is kept by it."""

    experiment: Experiment
    project: Project
    stages: tuple[Stage, ...]
    code: CodeIndex = field(default_factory=code_index)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __getitem__(self, name: str) -> Stage:
        return self._by_name[name]

    def parents(self, stage: Stage) -> tuple[Stage, ...]:
        """The stages that write what ``stage`` reads, each once."""
        return tuple(dict.fromkeys(self._writers[key] for key in stage.reads))

    def knobs_of(self, stage: Stage) -> dict[str, Any]:
        """Knob -> value, of every knob that the stage depends on."""
        return knob_values(self.experiment, stage.knobs)

    def code_of(self, stage: Stage) -> dict[str, str]:
        """What the stage runs: file -> hash of its syntax tree, SQL model -> hash, package -> version."""
        if stage.name not in self._code:
            parts = self.code.parts_of(stage.run) | self._plugins
            for name in stage.sql:
                model = self.project.model(name)
                parts[f"{name.replace('.', '/')}.sql"] = model.sql_hash
                if model.function is not None:
                    parts |= self.code.parts_of_module(model.function.split(":")[0])
            self._code[stage.name] = dict(sorted(parts.items()))
        return self._code[stage.name]

    def code_hash(self, stage: Stage) -> str:
        """Sixteen hex digits over ``code_of``."""
        return hash_of_values(self.code_of(stage))

    def version(self, stage: Stage) -> str:
        """Code and knobs in one hash: what Dagster shows as the code version."""
        return combined_hash(self.code_hash(stage), hash_of_values(self.knobs_of(stage)))

    def keys_of_table(self, table: str) -> list[str]:
        """Keys of the assets that hold the rows of a SQL model or fill a source table."""
        return [model_key(table)] if table in self.project.models else filled_by(self.experiment, table)

    @cached_property
    def _by_name(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def _writers(self) -> dict[str, Stage]:
        return {key: stage for stage in self.stages for key in stage.keys}

    @cached_property
    def _plugins(self) -> dict[str, str]:
        return plugin_parts()

    @cached_property
    def _code(self) -> dict[str, dict[str, str]]:
        return {}


_UNIVERSE = ("assets", "grid.bar", "feed.interval", "feed.publication_lag_seconds", "features.max_age_hours")
FORECAST_KNOBS = (
    "assets",
    "grid.bar",
    "features",
    "labels",
    "model",
    "training",
    "regimes",
    "retrain",
    "baselines.ridge_lags",
    "baselines.ridge_penalty",
    "baselines.lasso_power",
    "baselines.elastic_net_ridge",
    "baselines.lead_window_bars",
    "baselines.leaders",
    "baselines.characteristic_bars",
    "baselines.boosted_trees",
    "baselines.boosted_leaves",
    "baselines.boosted_learning_rate",
    "baselines.boosted_min_rows",
    "baselines.boosted_patience",
)
"""What a model that forecasts depends on."""

_TRADE = (
    "assets",
    "grid.bar",
    "feed.kind",
    "feed.interval",
    "feed.simulated",
    "features.max_age_hours",
    "portfolio",
    "baselines",
    "labels",
    "costs",
    "retrain",
    "selection",
    "backtest",
)


def stage_table(experiment: Experiment, project: Project, code: CodeIndex | None = None) -> StageTable:
    """The stages of ``experiment``, candles first, the report last."""
    on_results = [model for model in project if reads_results(project, model)]
    rows = "features.panel_rows"
    # Regimes as of a day are found on the panel up to it: regime_windows knows later days, and no stage reads it.
    walked = (
        Output("retrain_plan", ("feature_windows",)),
        Output("rolling_model", ("retrain_plan", "feature_windows")),
        Output("forecasts", ("rolling_model", "feature_windows")),
    )
    candles = (name for name in experiment.candle_stages if not name.endswith("_funding"))  # their first trades price the leads
    chained, alone, whole = DayRule.CHAINED, DayRule.ALONE, DayRule.WHOLE
    panel, overrides = "feature_windows", ("overrides",)
    walk_knobs = (*FORECAST_KNOBS, "compute")  # which says where, and of which nothing is hashed
    stages = [
        *_candle_stages(experiment),
        _stage("raw", "warehouse", alone, "data_stages.sync_lake", experiment.candle_stages, _UNIVERSE, is_asset=False),
        *(sql_stage(experiment, project, model, "data", _UNIVERSE) for model in project if model not in on_results),
        _stage(
            "feature_windows",
            "panel",
            chained,
            "data_stages.export_windows",
            (model_key(rows),),
            (*_UNIVERSE, "features.names"),
            behind=tuple(model_key(name) for name in project.model(rows).depends_on),
            sql=(*project.upstream(rows), rows),
            day_files=("panel/days/{day}.parquet",),
        ),
        _stage(
            "regime_windows",
            "models",
            whole,
            "model_stages.find_regimes",
            (panel,),
            ("assets", "grid.bar", "features.names", "regimes"),
        ),
        _stage("trained_model", "models", DayRule.ON_REQUEST, "model_stages.train", (panel,), FORECAST_KNOBS),
        Stage(
            "walk_forward",
            "models",
            "models",
            chained,
            "model_stages.walk_forward",
            walked,
            walk_knobs,
            overrides,
            day_files=("walk_forward/plan/{day}.json", "walk_forward/predictions/{day}.parquet"),
        ),
        _stage(
            "monitoring",
            "models",
            whole,
            "model_stages.watch",
            (panel, "retrain_plan", "forecasts"),
            walk_knobs,
            overrides,
        ),
        _stage(
            "attention_snapshot",
            "attention",
            alone,
            "model_stages.snapshot_attention",
            ("rolling_model", panel),
            (*walk_knobs, "analysis"),
        ),
        _stage("target_weights", "portfolio", whole, "model_stages.decide_weights", ("forecasts", "retrain_plan", panel), _TRADE),
        _stage(
            "backtest_report",
            "portfolio",
            whole,
            "model_stages.write_report",
            ("target_weights", "forecasts", "retrain_plan", "attention_snapshot", panel, "marts/data_quality", *candles),
            ("*",),
            ("trials",),
        ),
        *(sql_stage(experiment, project, model, "models", _UNIVERSE) for model in on_results),
    ]
    return StageTable(experiment, project, tuple(stages), code or code_index())


def knob_values(experiment: Experiment, knobs: tuple[str, ...]) -> dict[str, Any]:
    """Dotted knob -> value, for every knob below the names in ``knobs``; knobs that say where, not what, are left out.

    >>> knob_values(Experiment(), ("labels",))["labels.execution_lag"]
    1
    """
    values: dict[str, Any] = {}
    for name in knobs:
        value: Any = experiment
        for part in () if name == "*" else name.split("."):
            value = getattr(value, part)
        values |= dict(_leaves("" if name == "*" else name, value))
    return dict(sorted(values.items()))


def _stage(
    name: str,
    group: str,
    rule: DayRule,
    run: str,
    reads: tuple[str, ...],
    knobs: tuple[str, ...],
    external_inputs: tuple[str, ...] = (),
    behind: tuple[str, ...] = (),
    **other: Any,
) -> Stage:
    """A stage that writes one asset of its own name."""
    job = "data" if run.startswith("data_stages.") else "models"
    return Stage(name, group, job, rule, run, (Output(name, reads, behind),), knobs, external_inputs, **other)


def _candle_stages(experiment: Experiment) -> Iterator[Stage]:
    for name in experiment.candle_stages:
        function = "ingest_funding" if name.endswith("_funding") else "ingest_candles"
        yield _stage(name, "candles", DayRule.ALONE, f"data_stages.{function}", (), ("assets", "grid.bar", "feed"))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Section):
        for knob, held in value.hashed_knobs().items():
            yield from _leaves(f"{name}.{knob}".removeprefix("."), held)
    else:
        yield name, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
