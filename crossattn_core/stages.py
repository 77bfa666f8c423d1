"""The one table of stages: what each reads, which knobs it depends on, which code it runs, by which rule its days follow from
what it reads, and what it writes.

Everything that must know a stage derives it from here: staleness and its reasons, the order of launches, Dagster's dependencies,
asset specs and code versions, the result tables that marts read, and the picture of the graph in the docs.

    candles/<venue>, <table>, feature_windows        days, up to the panel           (data_stages.py)
    walk_forward, attention_snapshot                 days, from the panel on         (model_stages.py)
    regime_windows, monitoring, target_weights,
    backtest_report                                  as a whole
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from crossattn_core.code_hash import CodeIndex, code_index, plugin_parts
from crossattn_core.experiment import Experiment, Section
from crossattn_core.receipts import combined_hash, hash_of_values
from crossattn_core.warehouse.checks import read_by_tests
from crossattn_core.warehouse.project import Model, Project

__all__ = [
    "FORECAST_KNOBS",
    "RESULTS",
    "DayRule",
    "Output",
    "ResultTable",
    "Stage",
    "StageTable",
    "knob_values",
    "model_key",
    "stage_table",
]


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
class ResultTable:
    """Files of a stage that SQL reads as one table."""

    name: str
    """``results.<name>`` in ``dbt_like_sql/sources.sql``."""
    pattern: str
    """Glob below the home."""
    newest_only: bool = False
    """Whether the last file (by name) is the whole table."""
    rows: str = "from {files}"
    """How its rows are read, where the files hold more or other columns."""


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
        return [model_key(table)] if table in self.project.models else _filled_by(self.experiment, table)

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


RESULTS = {
    "regime_windows": (ResultTable("results.regime_windows", "walk_forward/regime_windows.parquet"),),
    "forecasts": (
        ResultTable(
            "results.forecasts",
            "walk_forward/predictions/*.parquet",
            rows="select *, value as forecast from {files} where kind = 'return'",
        ),
    ),
    "attention_snapshot": (
        ResultTable("results.attention", "attention/*.parquet"),
        ResultTable("results.attention_evidence", "attention/evidence/*.parquet"),
        ResultTable("results.attention_agreement", "attention/agreement/*.parquet"),
    ),
    "target_weights": (ResultTable("results.weights", "weights/*.parquet"),),
    "backtest_report": (ResultTable("results.returns", "reports/*/returns.parquet", newest_only=True),),
}
"""Asset key -> the tables that SQL reads of it."""

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
    reads_results = [model for model in project if _reads_results(project, model)]
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
        *(_sql_stage(experiment, project, model, "data") for model in project if model not in reads_results),
        _stage(
            "feature_windows",
            "panel",
            chained,
            "data_stages.export_windows",
            (model_key(rows),),
            (*_UNIVERSE, "features.names"),
            behind=tuple(model_key(name) for name in project.model(rows).depends_on),
            sql=(*project.upstream(rows), rows),
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
        *(_sql_stage(experiment, project, model, "models") for model in reads_results),
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


def _sql_stage(experiment: Experiment, project: Project, model: Model, job: str) -> Stage:
    def keys(tables: Iterable[str]) -> tuple[str, ...]:
        filled = ([model_key(name)] if name in project.models else _filled_by(experiment, name) for name in tables)
        return tuple(dict.fromkeys(key for found in filled for key in found))

    reads = keys((*model.depends_on, *read_by_tests(project, model)))
    behind = keys(project.behind_views(model.name)) if model.is_stored_by_day else ()
    return Stage(
        model.name,
        "warehouse" if job == "data" else "marts",
        job,
        # A view or a whole table costs little: it is made with what reads it, and never stale by itself.
        DayRule.CHAINED if model.is_stored_by_day else DayRule.ON_REQUEST,
        "data_stages.build_table",
        (Output(model_key(model.name), reads, tuple(key for key in behind if key not in reads)),),
        _UNIVERSE,
        sql=(*project.upstream(model.name), model.name),
    )


def _filled_by(experiment: Experiment, source: str) -> list[str]:
    """The assets that fill a source table; none for the universe, the calendars and the knobs, which are settings."""
    for key, tables in RESULTS.items():
        if any(table.name == source for table in tables):
            return [key]
    candles = [name for name in experiment.candle_stages if not name.endswith("_funding")]
    if source == "raw.funding":
        return [name for name in experiment.candle_stages if name.endswith("_funding")]
    if source == "raw.dividends":
        payers = {f"candles/{asset.venue}" for asset in experiment.assets if asset.pays_dividends}
        return [name for name in candles if name in payers]
    return [] if source in ("raw.assets", "raw.sessions", "results.settings") else candles


def _reads_results(project: Project, model: Model) -> bool:
    read = {table for name in (*project.upstream(model.name), model.name) for table in project.models[name].depends_on}
    return any(table.startswith("results.") for table in read)


def model_key(name: str) -> str:
    """Asset key of a SQL model: ``aligned.bars`` -> ``aligned/bars``."""
    return name.replace(".", "/")


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
