"""The partitions definition, daily, and the one translation between Dagster's windows and ours.

Dagster's window of key D is [D 00:00, D+1 00:00); ours holds the rows keyed in (D 00:00, D+1 00:00]. Both are
named by the same day D, so the translation is the name: a key is read as a date and nothing else.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg

from crossattn_core.experiment import Period

__all__ = ["RANGE_END", "RANGE_START", "daily_partitions", "day_range", "range_tags"]

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def daily_partitions(period: Period) -> dg.DailyPartitionsDefinition:
    """One partition a day of the experiment; without a last day, up to yesterday (UTC)."""
    end = None if period.end is None else (period.end + timedelta(days=1)).isoformat()
    return dg.DailyPartitionsDefinition(start_date=period.start.isoformat(), end_date=end, timezone="UTC")


def day_range(context: dg.AssetExecutionContext) -> tuple[date, date]:
    """First and last day of this run, both included."""
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)


def range_tags(days: Sequence[date]) -> dict[str, str]:
    """Run tags for the partitions from the first to the last of ``days``."""
    return {RANGE_START: days[0].isoformat(), RANGE_END: days[-1].isoformat()}
