"""The assets ``feature_windows``, the panel that models read, and ``regime_windows``, found on it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from crossattn_core import data_stages, model_stages
from crossattn_core.errors import ContractError
from crossattn_core.line import Line
from crossattn_core.panel.schemas import BrokenContractError
from crossattn_core.report.figures.stages import regime_figure
from crossattn_core.report.figures.style import png
from crossattn_core.stages import StageTable
from crossattn_pipeline.assets.from_table import stage_asset
from crossattn_pipeline.data_versions import content_version
from crossattn_pipeline.metadata import figure, made_because, table
from crossattn_pipeline.partitions import day_range

__all__ = ["panel_assets"]


def panel_assets(stages: StageTable) -> list[dg.AssetsDefinition]:
    """``feature_windows`` by day, ``regime_windows`` as a whole."""
    experiment = stages.experiment

    @stage_asset(
        stages,
        "feature_windows",
        description=(
            "The panel: time x asset x feature with masks, validated. Models read windows of "
            f"{experiment.model.lookback} bars as indices into it, never as copies. "
            f"Features: {', '.join(experiment.features.names)}."
        ),
        kinds={"parquet", "numpy"},
        pool="duckdb",
        check_specs=[
            dg.AssetCheckSpec(
                "contract",
                asset="feature_windows",
                blocking=True,
                description="rows fit their schema; shapes, masks, prices, ages and time of the arrays agree",
            )
        ],
    )
    def feature_windows(
        context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        first, last = day_range(context)
        why = made_because(line, "feature_windows", first, last)
        try:
            hashes = data_stages.export_windows(line, first, last)
        except ContractError as error:
            metadata: dict[str, Any] = {"error": str(error)}
            if isinstance(error, BrokenContractError):
                metadata["failures"] = table(error.failures)
            yield dg.AssetCheckResult(check_name="contract", passed=False, metadata=metadata)
            raise
        coverage = _coverage(line)
        for day, content_hash in hashes.items():
            shown: dict[str, Any] = {"content_hash": content_hash}
            if day == last:
                shown |= {"coverage": table(coverage), **why}
            context.add_asset_metadata(shown, partition_key=day.isoformat())
        versions = {day.isoformat(): content_hash for day, content_hash in hashes.items()}
        yield dg.MaterializeResult(
            data_version=content_version(context, versions),
            check_results=[dg.AssetCheckResult(check_name="contract", passed=True)],
        )

    @stage_asset(
        stages,
        "regime_windows",
        description="Regime windows: from the day a regime is confirmed until the next is, found causally on the panel.",
        kinds={"numpy"},
    )
    def regime_windows(line: dg.ResourceParam[Line]) -> dg.MaterializeResult:
        why = made_because(line, "regime_windows")
        windows = model_stages.find_regimes(line)
        picture = png(regime_figure(line.panel(), windows, experiment.symbols))
        return dg.MaterializeResult(
            metadata={
                **why,
                "dagster/row_count": len(windows),
                "windows": table(windows, rows=100),
                "prices_by_regime": figure(picture, "prices shaded by regime"),
            }
        )

    return [feature_windows, regime_windows]


def _coverage(line: Line) -> pd.DataFrame:
    panel = line.panel()
    feature_share_N = np.isfinite(panel.feature_TNF).all(axis=2).mean(axis=0)
    return pd.DataFrame(
        {
            "asset": line.experiment.symbols,
            "tradable share of bars": panel.is_tradable_TN.mean(axis=0),
            "fresh share of bars": panel.is_fresh_TN.mean(axis=0),
            "all features present": feature_share_N,
        }
    )
