"""Metadata of materializations and asset checks: pictures, tables, numbers, and why a partition was made."""

import base64
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from crossattn_core.line import Line

__all__ = ["LINEAGE_PATH", "MAX_IMAGE_BYTES", "REPORTS_PATH", "check_rows", "figure", "made_because", "number", "table"]

REPORTS_PATH = "/reports"
"""Where the web UI serves the home's reports (webserver.py)."""

LINEAGE_PATH = "/lineage"
"""Where the web UI serves the drawn column lineage (webserver.py)."""

MAX_IMAGE_BYTES = 60_000
"""A larger picture swells the instance: each is stored several times over."""


def figure(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A PNG as an inline picture; one over ``MAX_IMAGE_BYTES`` is left out with a sentence, lest a picture fail a run."""
    if len(png) > MAX_IMAGE_BYTES:
        return dg.MetadataValue.md(f"The picture {title!r} is left out: {len(png)} bytes, more than {MAX_IMAGE_BYTES}.")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")


def table(frame: pd.DataFrame, *, rows: int = 50, digits: int = 4) -> dg.MarkdownMetadataValue:
    """The first ``rows`` rows of ``frame`` as a Markdown table; says how many were left off."""
    shown = frame.head(rows)
    lines = ["| " + " | ".join(str(name) for name in shown.columns) + " |", "|" + "---|" * len(shown.columns)]
    lines += ["| " + " | ".join(_cell(value, digits) for value in row) + " |" for row in shown.itertuples(index=False, name=None)]
    if len(frame) > rows:
        lines.append(f"\n{len(frame) - rows} more rows not shown")
    return dg.MetadataValue.md("\n".join(lines))


def made_because(line: Line, stage: str, first: date | None = None, last: date | None = None) -> dict[str, str]:
    """Why the partitions of a stage are about to be made; read it before the stage runs, which makes them up to date."""
    return {"made_because": "; ".join(line.staleness.lines(stage, first, last)) or "requested; nothing had changed"}


def check_rows(
    asset: str | dg.AssetKey,
    check: str,
    failing: pd.DataFrame,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    **metadata: Any,
) -> dg.AssetCheckResult:
    """The result of an asset check that passes where no row is ``failing``; the first ones are shown."""
    shown = metadata | {"failing_rows": table(failing, rows=20)}
    return dg.AssetCheckResult(asset_key=asset, check_name=check, passed=failing.empty, severity=severity, metadata=shown)


def number(value: float | np.floating | None) -> dg.FloatMetadataValue | dg.TextMetadataValue:
    """A float for the UI; 'none' where it is not finite, since Dagster stores NaN as null."""
    if value is None or not np.isfinite(value):
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.float(float(value))


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{float(value):.{digits}g}"
    return str(value).replace("|", "\\|").replace("\n", "<br>")
