"""Jobs: the whole line, and its first half."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition  # not exported by dagster

from crossattn_core.stages import StageTable
from crossattn_pipeline.assets.from_table import asset_key
from crossattn_pipeline.event_jobs import retrain_job, rollback_job

__all__ = ["all_jobs"]

_WATCHED = ("regime_windows", "monitoring")
"""Made by both halves: a closed day is watched before the models see it, and again after."""


def all_jobs(stages: StageTable) -> list[UnresolvedAssetJobDefinition | dg.JobDefinition]:
    """``line`` from candles to report; ``data`` up to the panel; ``models`` from the walk-forward to the report."""
    everything = dg.AssetSelection.all() - dg.AssetSelection.assets("trained_model")
    keys = [asset_key(key) for stage in stages if stage.job == "data" and stage.is_asset for key in stage.keys]
    upstream = dg.AssetSelection.assets(*keys)
    return [
        dg.define_asset_job("line", everything, description="Candles to report, for a day or a range of days."),
        dg.define_asset_job(
            "data", upstream | dg.AssetSelection.assets(*_WATCHED), description="Candles to panel, regimes and monitoring."
        ),
        dg.define_asset_job(
            "train", dg.AssetSelection.assets("trained_model"), description="One checkpoint over a chosen range."
        ),
        dg.define_asset_job(
            "freshness",
            dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("feature_windows"), "newest_expected_day_is_there")),
            description="Is the newest day that should be there, there?",
        ),
        retrain_job(),
        rollback_job(),
        dg.define_asset_job("models", everything - upstream, description="Walk-forward to report."),
    ]
