"""The newest days of a period that has ended, where the web UI asks for the newest partitions: its plots draw 120 of them.

Dagster pages the keys of a daily definition from today backwards, past the definition's own end: the plots of a period that
ended months ago would be empty.
"""

from functools import wraps
from typing import Any

import dagster as dg

__all__ = ["page_from_the_end"]


def page_from_the_end() -> None:
    """Let this process page the keys of an ended definition from its end; a definition without one is paged as before."""
    paged_from_today = dg.TimeWindowPartitionsDefinition.get_paginated_partition_keys

    @wraps(paged_from_today)
    def paged(
        self: dg.TimeWindowPartitionsDefinition, context: Any, limit: int, ascending: bool, cursor: str | None = None
    ) -> Any:
        if self.end is not None and not ascending:
            # As it was seen when the period had just ended.
            context = context.updated(effective_dt=min(context.effective_dt, self.end), dynamic_partitions_store=None)
        return paged_from_today(self, context, limit, ascending, cursor)

    dg.TimeWindowPartitionsDefinition.get_paginated_partition_keys = paged
