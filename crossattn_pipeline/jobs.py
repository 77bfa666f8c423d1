"""Jobs: the whole line, and its first half."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition  # not exported by dagster

__all__ = ["DATA_GROUPS", "all_jobs"]

DATA_GROUPS = ("candles", "warehouse", "panel")


def all_jobs() -> list[UnresolvedAssetJobDefinition]:
    """``line`` from candles to report; ``data`` up to the panel; ``models`` from the walk-forward to the report."""
    everything = dg.AssetSelection.all() - dg.AssetSelection.assets("trained_model")
    upstream = dg.AssetSelection.groups(*DATA_GROUPS)
    return [
        dg.define_asset_job("line", everything, description="Candles to report, for a day or a range of days."),
        dg.define_asset_job("data", upstream, description="Candles to panel: what a closed day needs."),
        dg.define_asset_job(
            "train", dg.AssetSelection.assets("trained_model"), description="One checkpoint over a chosen range."
        ),
        dg.define_asset_job("models", everything - upstream, description="Walk-forward to report."),
    ]
