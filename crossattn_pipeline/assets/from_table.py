"""Asset specs from the table of stages: key, deps, group, owners, code version, columns, partitions and backfill policy."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import Enum
from typing import Any, cast

import dagster as dg

from crossattn_core.stage import Output, Stage
from crossattn_core.stages import StageTable
from crossattn_pipeline.assets.columns import asset_key, column_metadata, lineage_link
from crossattn_pipeline.partitions import daily_partitions

__all__ = ["asset_key", "closed_choice", "output_specs", "partition_settings", "stage_asset", "stands_alone"]

_FRESH_DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=27))
"""Of days that go on: made once a day, after it closed. A period that has ended is never late."""


def stands_alone(stages: StageTable) -> tuple[str, ...]:
    """Stages that end the line and that nothing waits for: they may be made whenever what they read was made.

    Dagster's automation sensor does so where a person switches it on; the jobs make them anyway.
    """
    return tuple(stage.name for stage in stages if stage.group == "marts")


def closed_choice(name: str, choices: Iterable[str]) -> Any:
    """An enumeration of the choices, which the launchpad offers and checks; each member's value is its name."""
    return Enum(name, {choice: choice for choice in choices})


def stage_asset(stages: StageTable, name: str, **settings: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """``dg.asset`` for a stage that writes one asset: key, deps, group, owners, code version and partitions are the table's.

    Args:
        settings: what is not in the table: description, kinds, metadata, checks, pool, ...
    """
    stage = stages[name]
    (output,) = stage.outputs
    description, metadata = settings.pop("description"), settings.pop("metadata", {})
    derived = {"key": asset_key(output.key), **_shared(stages, stage, output, description), **partition_settings(stages, stage)}
    derived["metadata"] = derived["metadata"] | metadata
    return cast(Callable[[Callable[..., Any]], dg.AssetsDefinition], dg.asset(**derived, **settings))


def output_specs(stages: StageTable, name: str, described: dict[str, tuple[str, str]]) -> list[dg.AssetSpec]:
    """A spec for each output of a stage that writes several; ``described``: key -> (kind, description)."""
    stage = stages[name]
    return [
        dg.AssetSpec(
            asset_key(output.key),
            kinds={described[output.key][0]},
            **_shared(stages, stage, output, described[output.key][1]),
        )
        for output in stage.outputs
    ]


def partition_settings(stages: StageTable, stage: Stage) -> dict[str, Any]:
    """Daily partitions, a range as one run, for a dated stage; nothing for another."""
    if not stage.is_dated:
        return {}
    return {
        "partitions_def": daily_partitions(stages.experiment.period),
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }


def _shared(stages: StageTable, stage: Stage, output: Output, description: str) -> dict[str, Any]:
    return {
        "description": _with_link(description, lineage_link(stages, output.key)),
        "metadata": column_metadata(stages, output.key),
        "deps": [asset_key(key) for key in (*output.reads, *output.behind)],
        "group_name": stage.group,
        "owners": [f"team:{stages.experiment.report.owner}"],
        "code_version": stages.version(stage),
        "freshness_policy": _FRESH_DAILY if stages.experiment.period.end is None and stage.is_dated else None,
        "automation_condition": dg.AutomationCondition.eager() if stage.name in stands_alone(stages) else None,
    }


def _with_link(description: str, link: str) -> str:
    """The link behind the first paragraph: a model's SQL follows, folded."""
    said, blank, more = description.partition("\n\n")
    return f"{said}{link}{blank}{more}"
