"""Data versions made of content: what comes out as it was makes nothing behind it stale in the web UI.

Dagster stamps one version on every partition of a run. A run over days that hold what they held keeps the version that they
have, whatever runs made it; where a day's content is another, the run's days get the hash of theirs.
"""

from collections.abc import Mapping

import dagster as dg

from crossattn_core.receipts import combined_hash

__all__ = ["CONTENT_HASH", "content_version"]

CONTENT_HASH = "content_hash"
"""Metadata of a partition: the hash of what it holds."""

_VERSION = "dagster/data_version"
_MAX_DAYS_COMPARED = 400
"""A run over more days is a new history: comparing it with the old one would cost more than it saves."""


def content_version(context: dg.AssetExecutionContext, content: Mapping[str, str]) -> dg.DataVersion:
    """The data version of this run's partitions.

    Args:
        content: partition key -> hash of what it holds now.
    """
    fresh = combined_hash(*(part for key in sorted(content) for part in (key, content[key])))
    before = _recorded(context, content) if len(content) <= _MAX_DAYS_COMPARED else {}
    versions = {before[key][1] for key in content if key in before and before[key][0] == content[key]}
    is_unchanged = len(versions) == 1 and all(key in before and before[key][0] == content[key] for key in content)
    return dg.DataVersion(versions.pop() if is_unchanged else fresh)


def _recorded(context: dg.AssetExecutionContext, content: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Partition key -> (content, data version) of its newest materialization."""
    chosen = dg.AssetRecordsFilter(context.asset_key, asset_partitions=list(content))
    found: dict[str, tuple[str, str]] = {}
    for record in context.instance.fetch_materializations(chosen, limit=2 * _MAX_DAYS_COMPARED).records:
        made = record.asset_materialization
        if made is not None and made.partition is not None and made.partition not in found and CONTENT_HASH in made.metadata:
            found[made.partition] = (str(made.metadata[CONTENT_HASH].value), (made.tags or {}).get(_VERSION, ""))
    return found
