"""The asset ``monitoring``, the outlook of the newest day for people and sensors, and the asset check of freshness."""

from datetime import date

import dagster as dg
import pandas as pd

from crossattn_core import model_stages
from crossattn_core.experiment import Experiment
from crossattn_core.line import Line
from crossattn_core.regimes.daily import daily_regimes
from crossattn_core.regimes.windows import regime_windows
from crossattn_core.report.figures.stages import monitor_figure
from crossattn_core.report.figures.style import png
from crossattn_core.stages import StageTable
from crossattn_core.walk_forward.monitor import freshness, rolling_ic
from crossattn_core.walk_forward.store import read_plan
from crossattn_pipeline.assets.from_table import stage_asset
from crossattn_pipeline.metadata import figure, made_because, number

__all__ = ["freshness_check", "monitoring_assets"]


def monitoring_assets(stages: StageTable) -> list[dg.AssetsDefinition]:
    """``monitoring``, made as a whole."""
    experiment = stages.experiment

    @stage_asset(
        stages,
        "monitoring",
        description=(
            "The newest complete day: its regime, drift, rolling IC of each family beside a baseline, and what the retrain plan "
            "makes of it. Sensors read this asset's metadata and nothing else."
        ),
        kinds={"numpy"},
    )
    def monitoring(line: dg.ResourceParam[Line]) -> dg.MaterializeResult:
        why = made_because(line, "monitoring")
        seen = model_stages.watch(line)
        panel = line.panel()
        if seen is None:
            return dg.MaterializeResult(metadata={"why": "the panel holds no complete day"})
        ic_DF = rolling_ic(line.home, experiment, panel)
        plan = read_plan(line.home)
        windows = regime_windows(daily_regimes(panel, experiment.regimes), experiment.regimes)
        newest = {f"rolling_ic/{name}": number(ic_DF[name].iloc[-1]) for name in ic_DF}
        return dg.MaterializeResult(
            metadata={
                **why,
                "day": seen.day.isoformat(),
                "due_from": seen.due[0].isoformat() if seen.due else "",
                "due_days": len(seen.due),
                "panel_hash": panel.content_hash,
                "action": seen.decision.action,
                "reason": seen.decision.reason,
                "why": seen.decision.why,
                "regime": seen.regime,
                "drift": number(seen.drift),
                "ic_gap": number(seen.ic_gap),
                "newest_expected_day": line.last_day.isoformat(),
                **newest,
                "watched": figure(png(monitor_figure(ic_DF, plan, windows)), "rolling IC and drift; retrains, regimes"),
            }
        )

    return [monitoring]


def freshness_check(experiment: Experiment) -> dg.AssetChecksDefinition:
    """Whether the newest day that should be in the panel is there: an old day filled in again makes nothing fresh."""

    @dg.asset_check(
        asset="feature_windows",
        name="newest_expected_day_is_there",
        description="The newest complete day by the clock has its panel; days missing before it are counted.",
    )
    def check(context: dg.AssetCheckExecutionContext, line: dg.ResourceParam[Line]) -> dg.AssetCheckResult:
        keys = context.instance.get_materialized_partitions(dg.AssetKey("feature_windows"))
        held = freshness(experiment.period.start, line.last_day, {date.fromisoformat(key) for key in keys})
        missing = pd.Series([day.isoformat() for day in held.missing], dtype=object)
        return dg.AssetCheckResult(
            passed=held.is_fresh,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "expected": held.expected.isoformat(),
                "newest": held.newest.isoformat() if held.newest else "none",
                "missing_days": len(held.missing),
                "first_missing": ", ".join(missing.head(10)) or "none",
            },
        )

    return check
