"""SQL models as stages, and which stage fills each table that they read."""

from collections.abc import Iterable
from dataclasses import dataclass

from crossattn_core.experiment import Experiment
from crossattn_core.stage import DayRule, Output, Stage
from crossattn_core.warehouse.checks import read_by_tests
from crossattn_core.warehouse.project import Model, Project

__all__ = ["RESULTS", "ResultTable", "filled_by", "model_key", "reads_results", "sql_stage"]


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


def sql_stage(experiment: Experiment, project: Project, model: Model, job: str, knobs: tuple[str, ...]) -> Stage:
    """The stage that builds ``model``, of the job ``data`` or ``models``."""

    def keys(tables: Iterable[str]) -> tuple[str, ...]:
        filled = ([model_key(name)] if name in project.models else filled_by(experiment, name) for name in tables)
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
        knobs,
        sql=(*project.upstream(model.name), model.name),
    )


def filled_by(experiment: Experiment, source: str) -> list[str]:
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


def reads_results(project: Project, model: Model) -> bool:
    """Whether ``model``, or what it reads, reads what stages stored."""
    read = {table for name in (*project.upstream(model.name), model.name) for table in project.models[name].depends_on}
    return any(table.startswith("results.") for table in read)


def model_key(name: str) -> str:
    """Asset key of a SQL model: ``aligned.bars`` -> ``aligned/bars``."""
    return name.replace(".", "/")
