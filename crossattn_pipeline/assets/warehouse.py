"""Every SQL model as an asset: described by its header, its tests as asset checks, its column lineage as metadata."""

import re
from collections.abc import Generator, Iterator
from datetime import date
from typing import Any

import dagster as dg

from crossattn_core import data_stages
from crossattn_core.line import Line
from crossattn_core.sql_stages import model_key
from crossattn_core.stages import StageTable
from crossattn_core.warehouse.checks import RejectedError, TestResult
from crossattn_core.warehouse.project import Model
from crossattn_core.warehouse.run import BuildResult
from crossattn_pipeline.assets.columns import column_lineage
from crossattn_pipeline.assets.from_table import asset_key, stage_asset
from crossattn_pipeline.data_versions import content_version
from crossattn_pipeline.metadata import table
from crossattn_pipeline.partitions import day_range

__all__ = ["warehouse_assets"]

_NUMBER = r"(-?[\d.]+)"
_BOUNDS = (
    (rf"\[{_NUMBER}, None\]", r"at_least \1"),
    (rf"\[None, {_NUMBER}\]", r"at_most \1"),
    (rf"\[{_NUMBER}, {_NUMBER}\]", r"\1 to \2"),
    (r"(?<![\w.])-(?=\d)", "minus_"),
)

Made = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


def warehouse_assets(stages: StageTable) -> list[dg.AssetsDefinition]:
    """One asset a model, in order."""
    return [_stored_by_day(stages, model) if model.is_stored_by_day else _whole(stages, model) for model in stages.project]


def _settings(model: Model) -> dict[str, Any]:
    return {
        "description": f"{model.description}\n\n```sql\n{model.sql.strip()}\n```",
        "kinds": {"duckdb", "python" if model.function else "sql"},
        "pool": "duckdb",
        "metadata": {
            "dagster/table_name": model.name,
            "kind": model.kind,
            "grain": ", ".join(model.grain),
        },
        "check_specs": [
            dg.AssetCheckSpec(
                _check_name(test.name),
                asset=asset_key(model_key(model.name)),
                description=test.name,
                blocking=test.severity == "error",
            )
            for test in model.tests
        ],
    }


def _check_name(test_name: str) -> str:
    """A test's name in the letters that Dagster allows: ``unique(asset_id, as_of)`` -> ``unique_asset_id_as_of``.

    >>> _check_name("range(volume: [0, None], rate: [-0.1, 0.1])")
    'range_volume_at_least_0_rate_minus_0_1_to_0_1'
    """
    for pattern, words in _BOUNDS:
        test_name = re.sub(pattern, words, test_name)
    return re.sub(r"[^A-Za-z0-9]+", "_", test_name).strip("_")


def _stored_by_day(stages: StageTable, model: Model) -> dg.AssetsDefinition:
    @stage_asset(stages, model.name, **_settings(model))
    def stored_model(context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]) -> Made:
        first, last = day_range(context)
        result = yield from _built(line, model, first, last)
        for day, rows in result.rows_by_day.items():
            shown: dict[str, Any] = {"dagster/partition_row_count": rows, "content_hash": result.content_hash_by_day[day]}
            if day == last:
                shown["dagster/column_lineage"] = column_lineage(stages, model_key(model.name))
            context.add_asset_metadata(shown, partition_key=day.isoformat())
        versions = {day.isoformat(): value for day, value in result.content_hash_by_day.items()}
        yield dg.MaterializeResult(
            data_version=content_version(context, versions), check_results=[_check_result(test) for test in result.tests]
        )

    return stored_model


def _whole(stages: StageTable, model: Model) -> dg.AssetsDefinition:
    @stage_asset(stages, model.name, **_settings(model))
    def whole_model(line: dg.ResourceParam[Line]) -> Made:
        result = yield from _built(line, model, stages.experiment.period.start, line.last_day)
        metadata: dict[str, Any] = {"dagster/column_lineage": column_lineage(stages, model_key(model.name))}
        if result.rows is not None:
            metadata["dagster/row_count"] = result.rows
        yield dg.MaterializeResult(metadata=metadata, check_results=[_check_result(test) for test in result.tests])

    return whole_model


def _built(line: Line, model: Model, first: date, last: date) -> Generator[dg.AssetCheckResult, None, BuildResult]:
    """Build and test; where a test refuses the rows, its failure table is shown before the step fails and nothing is stored."""
    try:
        return data_stages.build_table(line, model.name, first, last)
    except RejectedError as rejected:
        for result in rejected.results:
            yield _check_result(result)
        raise


def _check_result(result: TestResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key(model_key(result.model)),
        check_name=_check_name(result.test),
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if result.severity == "error" else dg.AssetCheckSeverity.WARN,
        metadata={"failing": result.failing, "failing_rows": table(result.failing_rows, rows=20)},
    )
