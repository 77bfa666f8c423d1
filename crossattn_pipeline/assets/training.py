"""The asset ``trained_model``, one checkpoint for interactive work, and the multi-asset ``walk_forward``."""

import json
import math
from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from crossattn_core import model_stages
from crossattn_core.experiment.registered import families
from crossattn_core.line import Line
from crossattn_core.report.figures.stages import loss_figure
from crossattn_core.report.figures.style import png
from crossattn_core.stages import StageTable
from crossattn_core.training.epochs import EpochReport
from crossattn_core.walk_forward.lookahead_checks import (
    check_no_forecast_saw_its_label,
    check_replay,
    replayable_days,
    sampled_days,
)
from crossattn_core.walk_forward.store import predictions_of, read_predictions
from crossattn_core.walk_forward.walk import DayResult
from crossattn_pipeline.assets.from_table import closed_choice, output_specs, partition_settings, stage_asset
from crossattn_pipeline.metadata import check_rows, figure, made_because, number, table
from crossattn_pipeline.partitions import day_range

__all__ = ["training_assets"]


_OUTPUTS = {
    "retrain_plan": ("json", "For each day: retrain or carry, and why. One pure function of what is known at the day's start."),
    "rolling_model": ("pytorch", "The models in force from that day's 00:00 UTC on; they know nothing later."),
    "forecasts": ("parquet", "Out-of-sample forecasts of each bar, from the model in force at the day's start."),
}
"""Asset key -> kind and description."""

_OF_FIRST_FAMILY = {"cut_off": "cut_off", "rows": "rows", "train_start": "train_start", "parent": "parent_id"}
"""Metadata of ``rolling_model`` -> column of the plan, of the family that leads."""


def training_assets(stages: StageTable) -> list[dg.AssetsDefinition]:
    """``trained_model``, and the multi-asset ``walk_forward``."""
    kinds = closed_choice("Trained", families.names())

    class TrainRequest(dg.Config):
        """Which checkpoint to fit."""

        family: kinds = Field(default=kinds["attention"], description="The model family.")  # pyright: ignore[reportInvalidTypeForm]
        last_day: str = Field(default="", description="The last day that it knows (UTC, YYYY-MM-DD); empty: the newest.")

    @stage_asset(
        stages,
        "trained_model",
        description="One checkpoint over a chosen range, for interactive work; the walk-forward trains its own.",
        kinds={"pytorch"},
    )
    def trained_model(
        context: dg.AssetExecutionContext, config: TrainRequest, line: dg.ResourceParam[Line]
    ) -> dg.MaterializeResult:
        last = date.fromisoformat(config.last_day) if config.last_day else line.last_day
        epochs: list[EpochReport] = []

        def on_epoch(epoch: EpochReport) -> None:
            epochs.append(epoch)
            # One observation an epoch draws a live curve in the UI.
            context.log_event(
                dg.AssetObservation(
                    "trained_model", metadata={"epoch": epoch.epoch, "validation_loss": number(epoch.validation_loss)}
                )
            )

        model = model_stages.train(line, config.family.value, last, report=on_epoch)
        return dg.MaterializeResult(
            metadata={
                "model_id": model.model_id,
                "manifest": dg.MetadataValue.json(model.manifest),
                "loss": figure(png(loss_figure({config.family.value: epochs})), "loss curve"),
            }
        )

    @dg.multi_asset(
        name="walk_forward",
        specs=output_specs(stages, "walk_forward", _OUTPUTS),
        check_specs=[
            dg.AssetCheckSpec(
                "no_forecast_saw_its_label",
                asset="forecasts",
                blocking=True,
                description="Every forecast's label ends after its model's cut-off; cut-offs are read from the checkpoints.",
            ),
            dg.AssetCheckSpec(
                "no_forecast_saw_its_future",
                asset="forecasts",
                blocking=True,
                description="Three sampled days, forecast again on panels with a random future, give the same bits.",
            ),
        ],
        **partition_settings(stages, stages["walk_forward"]),
    )
    def walk_forward(context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]) -> Iterator[dg.MaterializeResult]:
        first, last = day_range(context)
        why = made_because(line, "walk_forward", first, last)
        fitted: dict[str, list[EpochReport]] = {}
        retrains: list[pd.DataFrame] = []
        for result in model_stages.walk_forward(line, first, last):
            for key, shown in _day_metadata(line, result).items():
                context.add_asset_metadata(shown, asset_key=key, partition_key=result.day.isoformat())
            if result.action == "retrain":
                retrains.append(result.plan)
                fitted |= _curves(line, result)
        newest = last.isoformat()
        context.add_asset_metadata(why, asset_key="retrain_plan", partition_key=newest)
        if retrains:
            plan = pd.concat(retrains)[["day", "family", "reason", "why", "train_start", "cut_off", "rows", "validation_loss"]]
            context.add_asset_metadata({"retrains": table(plan, rows=100)}, asset_key="retrain_plan", partition_key=newest)
        if fitted:
            context.add_asset_metadata(
                {"loss_curves": figure(png(loss_figure(fitted)), "loss curves")}, asset_key="rolling_model", partition_key=newest
            )
        faults = check_no_forecast_saw_its_label(line.home, line.experiment, line.panel(last), first=first, last=last)
        days = replayable_days(line.home, read_predictions(line.home, first, last))
        replayed = check_replay(line.home, line.experiment, line.panel(last), sampled_days(days))
        yield dg.MaterializeResult(asset_key="retrain_plan")
        yield dg.MaterializeResult(asset_key="rolling_model")
        yield dg.MaterializeResult(
            asset_key="forecasts",
            check_results=[
                check_rows("forecasts", "no_forecast_saw_its_label", faults, faults=len(faults)),
                check_rows("forecasts", "no_forecast_saw_its_future", replayed, faults=len(replayed)),
            ],
        )

    return [trained_model, walk_forward]


def _day_metadata(line: Line, result: DayResult) -> dict[str, dict[str, Any]]:
    """The state of the day as it is stored, whether this run made it or found it made."""
    head, fitted = result.rows[0], _fitted(line, result)
    rolling: dict[str, Any] = {"reason": result.reason, "regime": head["regime"], "regime_window": head["window_id"]}
    rolling |= {name: _shown(head[row]) for name, row in _OF_FIRST_FAMILY.items()}
    for row in result.rows:
        family = row["family"]
        rolling[f"model/{family}"] = row["model_id"] or "none"
        rolling[f"cut_off/{family}"] = _shown(row["cut_off"])
        rolling[f"validation_loss/{family}"] = number(row["validation_loss"])
    for family, manifest in fitted.items():
        if epochs := len(manifest.get("validation_losses", ())):
            rolling[f"epochs/{family}"] = epochs
        rolling[f"data_hash/{family}"] = manifest["panel_hash"]
    if result.trained:
        rolling["seconds"] = result.seconds
    return {
        "retrain_plan": {"action": result.action, "reason": result.reason, "why": head["why"]},
        "rolling_model": rolling,
        "forecasts": {"dagster/partition_row_count": len(predictions_of(line.home, [result.day])), "reused": result.reused},
    }


def _fitted(line: Line, result: DayResult) -> dict[str, dict[str, Any]]:
    """Family -> manifest of the models that were fitted at the day's start, as stored."""
    paths = {row["family"]: line.home.models / row["trained_id"] / "manifest.json" for row in result.rows if row["trained_id"]}
    return {family: json.loads(path.read_text(encoding="utf-8")) for family, path in paths.items() if path.is_file()}


def _curves(line: Line, result: DayResult) -> dict[str, list[EpochReport]]:
    """Label -> loss curve of the models fitted at the day's start, of families that have one."""
    curves = {}
    for family, manifest in _fitted(line, result).items():
        losses = list(zip(manifest.get("training_losses", ()), manifest.get("validation_losses", ()), strict=True))
        if losses:
            curves[f"{result.day} {family}"] = [
                EpochReport(epoch, len(losses), fit, validation, learning_rate=math.nan, rows=manifest["train_rows"])
                for epoch, (fit, validation) in enumerate(losses, start=1)
            ]
    return curves


def _shown(value: object) -> str | int:
    return value if isinstance(value, int) else "none" if value in (None, "") else str(value)
