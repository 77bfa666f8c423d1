"""What each calendar calls for, as rows: the spine of the grid and the hours in which a market is open.

Sessions come from ``trading_calendar.py``; here they become the table that the SQL models join.
"""

from collections.abc import Iterable
from datetime import date

import numpy as np
import pyarrow as pa

from crossattn_core.days import bounds
from crossattn_core.trading_calendar import ALWAYS_OPEN, expected_bars

__all__ = ["session_rows"]


def session_rows(calendars: Iterable[str], first: date, last: date) -> pa.Table:
    """Candles that each calendar calls for with closed_at in the days first..last.

    The grid itself is the calendar that never closes: its rows are always among them.

    Returns:
        columns calendar, opened_at, closed_at (naive UTC), session (running number), is_optional; by calendar and close.

    >>> rows = session_rows(["XNYS"], date(2025, 3, 7), date(2025, 3, 7))
    >>> {name: rows["calendar"].to_pylist().count(name) for name in ("24/7", "XNYS")}
    {'24/7': 24, 'XNYS': 7}
    """
    start, end = bounds(first)[0], bounds(last)[1]
    parts: list[pa.Table] = []
    for calendar in sorted({ALWAYS_OPEN, *calendars}):
        bars = expected_bars(calendar, start, end)
        parts.append(
            pa.table(
                {
                    "calendar": np.repeat(np.array([calendar], dtype=object), len(bars)),
                    "opened_at": bars.opened_T.astype("datetime64[us]"),
                    "closed_at": bars.closed_T.astype("datetime64[us]"),
                    "session": bars.session_T,
                    "is_optional": bars.is_optional_T,
                }
            ).cast(_SESSION_SCHEMA)
        )
    return pa.concat_tables(parts)


_SESSION_SCHEMA = pa.schema(
    [
        ("calendar", pa.string()),
        ("opened_at", pa.timestamp("us")),
        ("closed_at", pa.timestamp("us")),
        ("session", pa.int64()),
        ("is_optional", pa.bool_()),
    ]
)
