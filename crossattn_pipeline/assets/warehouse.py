"""Every SQL model is an asset: described by its header, checked by its tests, linked by its lineage."""

import re
from collections.abc import Generator, Iterator
from datetime import date
from typing import Any, cast

import dagster as dg
import pandas as pd
from sqlglot import exp, parse_one

from crossattn_core import data_stages
from crossattn_core.experiment import Experiment
from crossattn_core.line import Line
from crossattn_core.warehouse.checks import RejectedError, TestResult, failing_query
from crossattn_core.warehouse.project import Column, Model, Project
from crossattn_core.warehouse.results import RESULT_STAGES, reads_results
from crossattn_core.warehouse.run import BuildResult
from crossattn_pipeline.metadata import table
from crossattn_pipeline.partitions import daily_partitions, day_range

__all__ = ["model_key", "warehouse_assets"]

Made = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


def warehouse_assets(experiment: Experiment, project: Project) -> list[dg.AssetsDefinition]:
    """One asset a model, in order."""
    return [
        _stored_by_day(experiment, project, model) if model.is_stored_by_day else _whole(experiment, project, model)
        for model in project
    ]


def model_key(name: str) -> dg.AssetKey:
    """``aligned.bars`` -> ``aligned/bars``."""
    return dg.AssetKey(name.split("."))


def _upstream_keys(experiment: Experiment, project: Project, model: Model) -> list[dg.AssetKey]:
    keys: list[dg.AssetKey] = []
    # Dagster orders what is selected by direct edges alone: dated assets are selected without the views between them.
    behind = project.behind_views(model.name) if model.is_stored_by_day else ()
    for name in dict.fromkeys((*model.depends_on, *_read_by_tests(project, model), *behind)):
        if name in project.models:
            keys.append(model_key(name))
        else:
            keys += [key for key in _source_keys(experiment, name) if key not in keys]
    return keys


def _read_by_tests(project: Project, model: Model) -> list[str]:
    """Models that only the tests of ``model`` read: they are built first, so that the tests can run."""
    queries = [parse_one(failing_query(model, test), dialect="duckdb") for test in model.tests if test.kind != "schema"]
    read = {f"{found.db}.{found.name}" for query in queries for found in query.find_all(exp.Table)}
    return sorted(read & project.models.keys() - {model.name} - set(project.downstream(model.name)))


def _source_keys(experiment: Experiment, source: str) -> list[dg.AssetKey]:
    """The assets that fill a source table; none for the universe, the calendars and the knobs, which are settings."""
    if source in RESULT_STAGES:
        stage = RESULT_STAGES[source]
        return [dg.AssetKey("forecasts" if stage == "walk_forward" else stage)]
    if source == "raw.funding":
        return [dg.AssetKey(["candles", "bybit_funding"])] if any(asset.pays_funding for asset in experiment.assets) else []
    if source == "raw.dividends":
        payers = dict.fromkeys(asset.venue for asset in experiment.assets if asset.pays_dividends)
        return [dg.AssetKey(["candles", venue]) for venue in payers]
    if source in ("raw.assets", "raw.sessions", "results.settings"):
        return []
    return [dg.AssetKey(["candles", venue]) for venue in experiment.venues]


def _spec(experiment: Experiment, project: Project, model: Model) -> dict[str, Any]:
    return {
        "key": model_key(model.name),
        "deps": _upstream_keys(experiment, project, model),
        "description": f"{model.description}\n\n```sql\n{model.sql.strip()}\n```",
        "group_name": "marts" if reads_results(project, model.name) else "warehouse",
        "kinds": {"duckdb", "python" if model.function else "sql"},
        "owners": [f"team:{experiment.report.owner}"],
        "code_version": project.code_versions[model.name],
        "pool": "duckdb",
        "metadata": {
            "dagster/column_schema": dg.TableSchema(columns=[_table_column(column) for column in model.columns]),
            "dagster/table_name": model.name,
            "column_lineage_table": table(_lineage_rows(model), rows=200),
            "kind": model.kind,
            "grain": ", ".join(model.grain),
        },
        "check_specs": [
            dg.AssetCheckSpec(
                _check_name(test.name), asset=model_key(model.name), description=test.name, blocking=test.severity == "error"
            )
            for test in model.tests
        ],
    }


def _table_column(column: Column) -> dg.TableColumn:
    return dg.TableColumn(column.name, column.type, description=f"{column.description} [{column.unit}]")


def _check_name(test_name: str) -> str:
    """A test's name in the letters that Dagster allows: ``unique(asset_id, as_of)`` -> ``unique_asset_id_as_of``."""
    return re.sub(r"[^A-Za-z0-9]+", "_", test_name).strip("_")


def _stored_by_day(experiment: Experiment, project: Project, model: Model) -> dg.AssetsDefinition:
    @dg.asset(
        **_spec(experiment, project, model),
        partitions_def=daily_partitions(experiment.period),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def stored_model(context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]) -> Made:
        first, last = day_range(context)
        result = yield from _built(line, model, first, last)
        for day, rows in result.rows_by_day.items():
            shown: dict[str, Any] = {"dagster/partition_row_count": rows, "content_hash": result.content_hash_by_day[day]}
            if day == last:
                shown["dagster/column_lineage"] = _column_lineage(experiment, project, model)
            context.add_asset_metadata(shown, partition_key=day.isoformat())
        yield dg.MaterializeResult(check_results=[_check_result(test) for test in result.tests])

    return cast(dg.AssetsDefinition, stored_model)  # settings come as a mapping, so the decorator's overloads cannot tell


def _whole(experiment: Experiment, project: Project, model: Model) -> dg.AssetsDefinition:
    @dg.asset(**_spec(experiment, project, model))
    def whole_model(line: dg.ResourceParam[Line]) -> Made:
        result = yield from _built(line, model, experiment.period.start, line.last_day)
        metadata: dict[str, Any] = {"dagster/column_lineage": _column_lineage(experiment, project, model)}
        if result.rows is not None:
            metadata["dagster/row_count"] = result.rows
        yield dg.MaterializeResult(metadata=metadata, check_results=[_check_result(test) for test in result.tests])

    return cast(dg.AssetsDefinition, whole_model)


def _built(line: Line, model: Model, first: date, last: date) -> Generator[dg.AssetCheckResult, None, BuildResult]:
    """Build and test; where a test refuses the rows, its failure table is told before the step fails and nothing is stored."""
    try:
        return data_stages.build_table(line, model.name, first, last)
    except RejectedError as rejected:
        for result in rejected.results:
            yield _check_result(result)
        raise


def _check_result(result: TestResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=model_key(result.model),
        check_name=_check_name(result.test),
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if result.severity == "error" else dg.AssetCheckSeverity.WARN,
        metadata={"failing": result.failing, "failing_rows": table(result.failing_rows, rows=20)},
    )


def _lineage_rows(model: Model) -> pd.DataFrame:
    rows = []
    for column in model.columns:
        made_from = model.column_lineage.get(column.name, "unresolved")
        text = made_from if isinstance(made_from, str) else ", ".join(f"{upstream}.{name}" for upstream, name in made_from)
        rows.append((column.name, column.type, column.unit, text or "constant"))
    return pd.DataFrame(rows, columns=["column", "type", "unit", "made from"])


def _column_lineage(experiment: Experiment, project: Project, model: Model) -> dg.TableColumnLineage:
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for column, made_from in model.column_lineage.items():
        if isinstance(made_from, str):
            continue
        deps[column] = [
            dg.TableColumnDep(asset_key=key, column_name=name)
            for upstream, name in made_from
            for key in ([model_key(upstream)] if upstream in project.models else _source_keys(experiment, upstream))
        ]
    return dg.TableColumnLineage(deps_by_column=deps)
