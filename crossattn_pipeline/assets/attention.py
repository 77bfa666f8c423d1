"""The asset ``attention_snapshot``: who attended to whom, by day and model in force; its checks look for collapse and drift."""

from typing import Any

import dagster as dg
import pandas as pd

from crossattn_core import inspections, model_stages
from crossattn_core.analysis.attention_overview import AttentionOverview
from crossattn_core.analysis.leaders import why_no_lead
from crossattn_core.analysis.snapshot_checks import CHECKS
from crossattn_core.line import Line
from crossattn_core.report.figures.overview import attention_pictures
from crossattn_core.report.figures.style import png
from crossattn_core.report.inputs import AttentionSummary
from crossattn_core.stages import StageTable
from crossattn_pipeline.assets.from_table import stage_asset
from crossattn_pipeline.metadata import check_rows, figure, made_because, number, table
from crossattn_pipeline.partitions import day_range

__all__ = ["attention_assets"]

_BREAKS_THE_CONTRACT = ("adds_up",)
"""Checks of severity ERROR: numbers that do not add up are no attention, and nothing downstream may show them. The others
warn: a collapsed or jumping attention may be right (one leader, a new regime), the forecasts do not depend on the snapshot, and a
leader is named only behind a gate of its own."""


def attention_assets(stages: StageTable) -> list[dg.AssetsDefinition]:
    """``attention_snapshot`` by day."""

    @stage_asset(
        stages,
        "attention_snapshot",
        description="Attention as used in the day's forecasts: asset x asset, and source x lag; before dropout, in eval mode.",
        kinds={"parquet"},
        check_specs=[
            dg.AssetCheckSpec(
                check,
                asset="attention_snapshot",
                blocking=check in _BREAKS_THE_CONTRACT,
                description=f"{claim[0].upper()}{claim[1:]}.",
            )
            for check, claim in CHECKS.items()
        ],
    )
    def attention_snapshot(context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]) -> dg.MaterializeResult:
        first, last = day_range(context)
        why = made_because(line, "attention_snapshot", first, last)
        for snapshot in model_stages.snapshot_attention(line, first, last):
            net_N = snapshot.net_N
            context.add_asset_metadata(
                {
                    "model_id": snapshot.model_id,
                    "most_attended": line.experiment.symbols[int(net_N.argmax())],
                    "net_leadership": number(float(net_N.max())),
                    "mean_entropy": number(float(snapshot.entropy_H.mean())),
                },
                partition_key=snapshot.day.isoformat(),
            )
        context.add_asset_metadata(why, partition_key=last.isoformat())
        overview = inspections.attention_overview_of(line, *inspections.leads_of(line, last))
        if overview is not None:
            context.add_asset_metadata(_pictures(line, *overview), partition_key=last.isoformat())
        checked = model_stages.check_attention(line, first, last)
        return dg.MaterializeResult(check_results=[_check_result(check, checked) for check in CHECKS])

    return [attention_snapshot]


def _pictures(line: Line, summary: AttentionSummary, overview: AttentionOverview) -> dict[str, Any]:
    """Heatmap, time, views, graph, profiles and stress, each under the size that the UI keeps; the verdict in words."""
    rate = line.experiment.analysis.false_discovery_rate
    named = overview.leaders[overview.leaders["named"].astype(bool)]
    drawn = attention_pictures(summary, overview, line.experiment.analysis, order="leadership")
    shown: dict[str, Any] = {name: figure(png(of), name.replace("_", " ")) for name, of in drawn.items()}
    shown["leads"] = table(named[["leader", "follower", "lag", "why"]]) if len(named) else why_no_lead(overview.leaders, rate)
    if overview.edges_in_words:
        shown["edges"] = overview.edges_in_words
    if len(overview.agreement):
        shown["agreement_of_views"] = table(overview.agreement.drop(columns=["day", "model_id"]))
    return shown


def _check_result(check: str, checked: pd.DataFrame) -> dg.AssetCheckResult:
    """One check over the days of the run; days without a snapshot (no model in force yet) have nothing to fail."""
    rows = checked[checked["check"] == check]
    failed = rows[~rows["passed"]].drop(columns=["check", "passed"])
    metadata: dict[str, Any] = {"days": len(rows), "failed_days": len(failed)}
    if len(rows):
        metadata |= {"newest": number(rows["value"].iloc[-1]), "bound": number(rows["bound"].iloc[-1])}
    severity = dg.AssetCheckSeverity.ERROR if check in _BREAKS_THE_CONTRACT else dg.AssetCheckSeverity.WARN
    return check_rows("attention_snapshot", check, failed, severity=severity, **metadata)
