"""The panel that models read, and the regimes found on it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from crossattn_core import data_stages, model_stages
from crossattn_core.errors import ContractError
from crossattn_core.experiment import Experiment
from crossattn_core.line import Line
from crossattn_core.panel.schemas import BrokenContractError
from crossattn_core.report.figures.stages import regime_figure
from crossattn_core.report.figures.style import png
from crossattn_core.warehouse.project import Project
from crossattn_pipeline.assets.warehouse import model_key
from crossattn_pipeline.metadata import figure, table
from crossattn_pipeline.partitions import daily_partitions, day_range

__all__ = ["panel_assets"]


def panel_assets(experiment: Experiment, project: Project) -> list[dg.AssetsDefinition]:
    """``feature_windows`` by day, ``regime_windows`` as a whole."""
    # The view, and the tables behind it: dated assets are selected without the views between them.
    read = ("features.panel_rows", *project.model("features.panel_rows").depends_on)
    owners = [f"team:{experiment.report.owner}"]

    @dg.asset(
        description=(
            "The panel: time x asset x feature with masks, validated. Models read windows of "
            f"{experiment.model.lookback} hours as indices into it, never as copies. "
            f"Features: {', '.join(experiment.features.names)}."
        ),
        deps=[model_key(name) for name in read],
        group_name="panel",
        kinds={"parquet", "numpy"},
        owners=owners,
        partitions_def=daily_partitions(experiment.period),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=experiment.features.content_hash(),
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
        try:
            hashes = data_stages.export_windows(line, first, last)
        except ContractError as error:
            told: dict[str, Any] = {"error": str(error)}
            if isinstance(error, BrokenContractError):
                told["failures"] = table(error.failures)
            yield dg.AssetCheckResult(check_name="contract", passed=False, metadata=told)
            raise
        coverage = _coverage(line)
        for day, content_hash in hashes.items():
            shown: dict[str, Any] = {"content_hash": content_hash}
            if day == last:
                shown["coverage"] = table(coverage)
            context.add_asset_metadata(shown, partition_key=day.isoformat())
        yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="contract", passed=True)])

    @dg.asset(
        description="Regime windows: from the day a regime is confirmed until the next is, found causally on the panel.",
        deps=[feature_windows],
        group_name="models",
        kinds={"numpy"},
        owners=owners,
        code_version=experiment.regimes.content_hash(),
    )
    def regime_windows(line: dg.ResourceParam[Line]) -> dg.MaterializeResult:
        windows = model_stages.find_regimes(line)
        picture = png(regime_figure(line.panel(), windows, experiment.symbols))
        return dg.MaterializeResult(
            metadata={
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
            "tradable share of hours": panel.is_tradable_TN.mean(axis=0),
            "fresh share of hours": panel.is_fresh_TN.mean(axis=0),
            "all features present": feature_share_N,
        }
    )
