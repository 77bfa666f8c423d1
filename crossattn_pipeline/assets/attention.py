"""Attention snapshots: who attended to whom, by day and model in force."""

import dagster as dg

from crossattn_core import line as stages
from crossattn_core.experiment import Experiment
from crossattn_core.line import Line
from crossattn_core.report.gather import attention_summary
from crossattn_core.report.ink import png
from crossattn_core.report.model_figures import attention_figure
from crossattn_pipeline.metadata import figure, number
from crossattn_pipeline.partitions import daily_partitions, day_range

__all__ = ["attention_assets"]


def attention_assets(experiment: Experiment) -> list[dg.AssetsDefinition]:
    """``attention_snapshot`` by day."""

    @dg.asset(
        description="Attention as used in the day's forecasts: asset x asset, and source x lag; before dropout, in eval mode.",
        deps=["rolling_model", "feature_windows"],
        group_name="attention",
        kinds={"parquet"},
        owners=[f"team:{experiment.report.owner}"],
        partitions_def=daily_partitions(experiment.period),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=experiment.analysis.content_hash(),
    )
    def attention_snapshot(context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]) -> dg.MaterializeResult:
        first, last = day_range(context)
        for snapshot in stages.snapshot_attention(line, first, last):
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
        summary = attention_summary(line.home, line.experiment, last)
        if summary is not None:
            context.add_asset_metadata(
                {"attention": figure(png(attention_figure(summary)), "attention: asset by asset, and source by lag")},
                partition_key=last.isoformat(),
            )
        return dg.MaterializeResult()

    return [attention_snapshot]
