"""Definitions, the code location: every stage of the line as assets, with jobs, schedules, sensors and the resource.

``defs`` is what Dagster loads; ``build_defs`` gives a fresh graph for another experiment, home or line.
"""

import os
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from crossattn_core.candles.feeds.registry import wall_clock
from crossattn_core.experiment import Experiment
from crossattn_core.stages import stage_table
from crossattn_core.warehouse.models import load_project
from crossattn_pipeline.assets.attention import attention_assets
from crossattn_pipeline.assets.candles import candle_assets
from crossattn_pipeline.assets.monitoring import freshness_check, monitoring_assets
from crossattn_pipeline.assets.panel import panel_assets
from crossattn_pipeline.assets.portfolio import portfolio_assets
from crossattn_pipeline.assets.training import training_assets
from crossattn_pipeline.assets.warehouse import warehouse_assets
from crossattn_pipeline.instance import WEBHOOK_VARIABLE, experiment_from, home_from, relax_sqlite, store_events_in_batches
from crossattn_pipeline.jobs import all_jobs
from crossattn_pipeline.resources import line_resource
from crossattn_pipeline.schedules import daily_data, daily_freshness, daily_prune
from crossattn_pipeline.sensors import all_sensors
from crossattn_pipeline.teardown import end_quietly

__all__ = ["build_defs", "defs"]

# Single-run backfills and asset checks carry Dagster's beta mark; their use is pinned by the lock and by tests.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def build_defs(
    experiment: Experiment,
    home_root: Path,
    resources: dict[str, Any] | None = None,
    *,
    webhook: str = "",
    clock: Callable[[], datetime] = wall_clock,
    daily: dg.ScheduleDefinition | None = None,
) -> dg.Definitions:
    """The graph of ``experiment`` over the home at ``home_root``.

    Args:
        resources: replaces any of the graph's resources, by name.
        webhook: address that failed runs are POSTed to; empty for none.
        clock: aware UTC; decides which day is the newest that should be there.
        daily: takes the place of the daily schedule.
    """
    stages = stage_table(experiment, load_project())
    return dg.Definitions(
        assets=dg.with_source_code_references(
            [
                *candle_assets(stages),
                *warehouse_assets(stages),
                *panel_assets(stages),
                *training_assets(stages),
                *monitoring_assets(stages),
                *attention_assets(stages),
                *portfolio_assets(stages),
            ]
        ),
        asset_checks=[freshness_check(experiment)],
        jobs=all_jobs(stages),
        schedules=[daily or daily_data(experiment), daily_freshness(), daily_prune()],
        sensors=all_sensors(experiment, home_root, webhook, clock=clock),
        resources={"line": line_resource(experiment, home_root, clock)} | (resources or {}),
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The graph of the experiment and home that the environment names (see instance.py)."""
    relax_sqlite()
    store_events_in_batches()
    end_quietly()
    return build_defs(experiment_from(os.environ), home_from(os.environ), webhook=os.environ.get(WEBHOOK_VARIABLE, ""))
