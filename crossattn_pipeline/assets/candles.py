"""The assets of raw candles and funding, one a venue: where lineage starts. Their checks: complete, not revised, none refused."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd

from crossattn_core import data_stages
from crossattn_core.candles.ingest.ingest import IngestedDay
from crossattn_core.errors import FeedBlockedError, PermanentFeedError, TransientFeedError
from crossattn_core.line import Line
from crossattn_core.stages import StageTable
from crossattn_core.universe import Kind, VenueName
from crossattn_pipeline.assets.from_table import asset_key, stage_asset
from crossattn_pipeline.data_versions import content_version
from crossattn_pipeline.metadata import check_rows, table
from crossattn_pipeline.partitions import day_range

__all__ = ["candle_assets"]

_RETRIES, _RETRY_SECONDS = 2, 10.0
"""Of a source that failed in a way that a later try may not; the pause doubles. No other failure is tried again."""


def candle_assets(stages: StageTable) -> list[dg.AssetsDefinition]:
    """One asset a venue that the universe uses, and funding where the universe has perpetuals."""
    experiment, built = stages.experiment, []
    for venue in experiment.venues:
        assets = experiment.assets_on(venue)
        symbols = ", ".join(asset.symbol for asset in assets)
        description = f"Candles ({experiment.candle_grid.bar}) of {symbols}, as first published after each closed."
        kinds: tuple[Kind, ...] = ("candles",)
        if any(asset.pays_dividends for asset in assets):
            # The same responses bring both, so one asset ingests both.
            description, kinds = description + " With the dividends that fell due.", ("candles", "dividends")
        built.append(_candle_asset(stages, f"candles/{venue}", venue, kinds, description))
    for venue in experiment.venues_with("funding"):
        description = "Funding settlements of the perpetuals: what longs paid shorts."
        built.append(_candle_asset(stages, f"candles/{venue}_funding", venue, ("funding",), description))
    return built


def _candle_asset(
    stages: StageTable, stage: str, venue: VenueName, kinds: Sequence[Kind], description: str
) -> dg.AssetsDefinition:
    key, settings = asset_key(stage), stages.experiment.feed
    # Funding has no calendar that must be met: what is missing is charged as zero and counted in the report.
    must_be_complete = kinds != ("funding",)
    severities = {"not_revised": dg.AssetCheckSeverity.ERROR, "none_refused": dg.AssetCheckSeverity.WARN}

    @stage_asset(
        stages,
        stage,
        description=f"{description} Feed: {settings.kind}.",
        kinds={"parquet"},
        check_specs=[
            dg.AssetCheckSpec(
                "complete",
                asset=key,
                blocking=must_be_complete,
                description=f"No asset lacks more than {settings.gap_tolerance:.0%} of a day's expected candles, chance aside.",
            ),
            dg.AssetCheckSpec(
                "not_revised",
                asset=key,
                description=f"No stored value changed later by more than {settings.max_revision:g}; history keeps the first one.",
            ),
            dg.AssetCheckSpec("none_refused", asset=key, description="No row broke a rule; those that did are in quarantine."),
        ],
    )
    def candles(context: dg.AssetExecutionContext, line: dg.ResourceParam[Line]) -> dg.MaterializeResult:
        first, last = day_range(context)
        ingest = data_stages.ingest_candles if must_be_complete else data_stages.ingest_funding
        try:
            days = ingest(line, venue, first, last)
        except (PermanentFeedError, FeedBlockedError) as error:
            # Another request would not help, or make it worse.
            raise dg.Failure(description=str(error), allow_retries=False) from error
        except TransientFeedError as error:
            raise dg.RetryRequested(_RETRIES, _RETRY_SECONDS * 2**context.retry_number) from error
        for row in days:
            context.add_asset_metadata(_day_metadata(row), partition_key=row.day.isoformat())
        suspects = zip(severities.items(), data_stages.suspect_candles(line, venue, first, last, kinds), strict=True)
        strange = [check_rows(key, name, rows, severity=severity, rows=len(rows)) for (name, severity), rows in suspects]
        versions = {row.day.isoformat(): row.content_hash for row in days}
        return dg.MaterializeResult(
            data_version=content_version(context, versions), check_results=[_completeness(key, days, must_be_complete), *strange]
        )

    return candles


def _day_metadata(row: IngestedDay) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": row.rows,
        "expected_rows": row.expected_rows,
        "gaps": row.gaps,
        "first": str(row.first or "none"),
        "last": str(row.last or "none"),
        "requests": row.requests,
        "retries": row.retries,
        "quarantined": row.quarantined,
        "revisions": row.revisions,
        "dividends": row.dividends,
        "content_hash": row.content_hash,
    }


def _completeness(key: dg.AssetKey, days: Sequence[IngestedDay], must_be_complete: bool) -> dg.AssetCheckResult:
    expected, gaps = sum(row.expected_rows for row in days), sum(row.gaps for row in days)
    share = gaps / expected if expected else 0.0
    worst = pd.DataFrame(
        [
            (row.day, row.rows, row.expected_rows, row.gaps, ", ".join(row.lacking))
            for row in sorted(days, key=lambda row: (-len(row.lacking), -row.gaps))
            if row.gaps
        ],
        columns=["day", "rows", "expected", "gaps", "assets beyond the tolerance"],
    )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="complete",
        passed=all(row.complete and not row.lacking for row in days),
        severity=dg.AssetCheckSeverity.ERROR if must_be_complete else dg.AssetCheckSeverity.WARN,
        metadata={
            "expected": expected,
            "missing": gaps,
            "missing_share": share,
            "quarantined": sum(row.quarantined for row in days),
            "days_lacking": sum(bool(row.lacking) for row in days),
            "days_not_over": sum(not row.complete for row in days),
            "worst_days": table(worst, rows=20),
        },
    )
