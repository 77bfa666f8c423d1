"""Contracts between stages: tables by pandera, the panel's arrays by hand.

Tables are validated lazily: every fault is found at once, and the failure table travels with the error. Under
pandas 3 instants of any unit pass for one another, so the unit is checked too.
Axes: T bars of the grid, N assets, F features, R decision rows.
"""

from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.candles.quality import MAX_FUNDING_RATE, PRICE_ROUNDING
from crossattn_core.errors import ContractError, LookaheadError
from crossattn_core.grid import HOURLY, BarName, Grid
from crossattn_core.panel.panel import Panel
from crossattn_core.universe import ASSET_ID_PATTERN

if TYPE_CHECKING:
    import pandera.pandas as pa

__all__ = [
    "BrokenContractError",
    "TableName",
    "check_cut_off",
    "check_panel",
    "check_table",
    "check_windows",
    "failures",
    "table_schema",
]

TableName = Literal["candles", "aligned", "features", "panel_rows", "predictions", "weights"]
_INSTANT = "datetime64[us]"
_PRICES = ("open", "high", "low", "close")


class BrokenContractError(ContractError):
    """A table breaks its schema; ``failures`` holds where."""

    def __init__(self, message: str, failures: pd.DataFrame) -> None:
        super().__init__(message)
        self.failures = failures


def check_table(name: TableName, rows: pd.DataFrame, grid: Grid = HOURLY) -> None:
    """Refuse rows that break the schema of ``name``; ``grid`` says where rows of bars may lie.

    Raises:
        BrokenContractError: its message lists the faults by column and rule, its ``failures`` every failing value.
    """
    found = failures(name, rows, grid)
    if len(found):
        counts = found.groupby(["column", "check"], sort=True, dropna=False).size()
        lines = [f"  {column}: {check} ({count} times)" for (column, check), count in counts.items()]  # type: ignore[misc]
        raise BrokenContractError(f"{name}: {len(found)} values break the contract:\n" + "\n".join(lines), found)


def failures(name: TableName, rows: pd.DataFrame, grid: Grid = HOURLY) -> pd.DataFrame:
    """Every failing value of ``rows``: columns column, check, value, row. Empty where the contract holds."""
    import pandera.errors

    try:
        table_schema(name, grid).validate(rows, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        found = pd.DataFrame(
            {
                "column": cases["column"].fillna(name).astype(str),
                "check": cases["check"].astype(str),
                "value": cases["failure_case"].astype(str),
                "row": cases["index"],
            }
        )
        return found.sort_values(["column", "check", "row"], ignore_index=True)
    return pd.DataFrame({"column": [], "check": [], "value": [], "row": []})


def table_schema(name: TableName, grid: Grid = HOURLY) -> "pa.DataFrameSchema":
    """The pandera schema of one table on a grid."""
    return _schema(name, grid.bar)


@cache
def _schema(name: TableName, bar_name: BarName) -> "pa.DataFrameSchema":
    import pandera.pandas as pa  # a second of import that only a check pays for

    instant = pa.Column(checks=pa.Check(lambda values: str(values.dtype) == _INSTANT, name=f"naive UTC {_INSTANT}"))
    key = pa.Column(str, pa.Check.str_matches(ASSET_ID_PATTERN, error="venue:category:symbol"))
    positive = pa.Check.gt(0, error="above 0")
    not_negative = pa.Check.ge(0, error="at least 0")
    finite = pa.Check(_is_finite, name="finite", ignore_na=True)
    price, may_lack_price = pa.Column(float, [positive, finite]), pa.Column(float, [positive, finite], nullable=True)
    age = pa.Column("float32", not_negative, nullable=True)
    grid = Grid(bar=bar_name)
    # A long bar holds the sum of its settlements, of which there is one an hour at most.
    most = MAX_FUNDING_RATE * max(grid.step.total_seconds() / 3600, 1)
    rate = pa.Check.in_range(-most, most, error=f"within {most:.0%}")
    flag = pa.Column(bool)
    bar = {
        "as_of": instant,
        "asset_id": key,
        "is_fresh": flag,
        "is_tradable": flag,
        "is_readable": flag,
        "age_hours": age,
        "trade_price": may_lack_price,
        "mark_price": may_lack_price,
        "quote_volume": pa.Column(float, [not_negative, finite], nullable=True),
        "funding_rate": pa.Column(float, rate, nullable=True),
        "dividend": pa.Column(float, [positive, finite], nullable=True),
    }
    on_the_grid = pa.Check(
        lambda rows: rows["as_of"].dt.floor(grid.step) == rows["as_of"], name=f"as_of on the grid of {grid.words()}"
    )
    masks = [
        pa.Check(
            lambda rows: rows["is_tradable"] == rows["trade_price"].notna(), name="is_tradable where there is a trade price"
        ),
        pa.Check(lambda rows: rows["mark_price"].notna() == rows["age_hours"].notna(), name="a mark has an age"),
        pa.Check(lambda rows: ~rows["is_fresh"] | rows["mark_price"].notna(), name="fresh rows have a mark"),
        on_the_grid,
    ]
    match name:
        case "candles":
            return pa.DataFrameSchema(
                {
                    "asset_id": key,
                    "opened_at": instant,
                    "closed_at": instant,
                    **dict.fromkeys(_PRICES, price),
                    "volume": pa.Column(float, [not_negative, finite]),
                    "turnover": pa.Column(float, not_negative, nullable=True, required=False),
                },
                checks=[
                    pa.Check(lambda rows: rows["opened_at"] < rows["closed_at"], name="opens before it closes"),
                    pa.Check(
                        lambda rows: rows["low"] * (1 - PRICE_ROUNDING) <= rows[["open", "close"]].min(axis=1),
                        name="low is lowest",
                    ),
                    pa.Check(
                        lambda rows: rows["high"] * (1 + PRICE_ROUNDING) >= rows[["open", "close"]].max(axis=1),
                        name="high is highest",
                    ),
                ],
                unique=["asset_id", "closed_at"],
            )
        case "aligned":
            return pa.DataFrameSchema(bar | {"is_expected": flag}, checks=masks, unique=["as_of", "asset_id"])
        case "features":
            kinds = {
                "((log|gap|intraday)_return|macd.*|last_funding_rate|hour_of_week.*)": finite,
                "rsi_14.*": pa.Check.in_range(0, 100, error="0 to 100"),
                "(range_share|volatility|relative_volume|pause_hours|bar_age_hours)": not_negative,
            }
            columns = {
                name: pa.Column("float32", [rule, finite], nullable=True, regex=True, required=False)
                for name, rule in kinds.items()
            }
            return pa.DataFrameSchema(
                {"as_of": instant, "asset_id": key, **columns},
                checks=[on_the_grid],
                unique=["as_of", "asset_id"],
            )
        case "panel_rows":
            return pa.DataFrameSchema(bar, checks=masks, unique=["as_of", "asset_id"])
        case "predictions":
            reasonable = pa.Check(
                lambda rows: (rows["kind"] != "return") | rows["value"].between(-1, 1), name="a return is a log return within 1"
            )
            return pa.DataFrameSchema(
                {
                    "as_of": instant,
                    "asset_id": key,
                    "family": pa.Column(str),
                    "kind": pa.Column(str, pa.Check.isin(["return", "weight"])),
                    "horizon": pa.Column("int32", positive),
                    "value": pa.Column("float32", [finite, pa.Check.in_range(-10, 10, error="within 10")]),
                    "model_id": pa.Column(str),
                },
                checks=[reasonable],
                unique=["as_of", "asset_id", "family", "kind", "horizon"],
            )
        case "weights":
            return pa.DataFrameSchema(
                {
                    "as_of": instant,
                    "asset_id": key,
                    "strategy": pa.Column(str),
                    "target_weight": pa.Column(float, [finite, pa.Check.in_range(-10, 10, error="within 10")], nullable=True),
                },
                unique=["as_of", "asset_id", "strategy"],
            )


def check_panel(panel: Panel, first_row: int = 0, *, has_past: bool = False) -> None:
    """Refuse a panel that breaks its contract, in the rows from ``first_row`` on.

    Args:
        has_past: row 0 is not the first that ever was, so its marks may be carried from rows that are not here.

    Raises:
        ContractError: shapes differ, rows are not a bar apart, a mask disagrees with prices or ages, a price carried forward
            changed, or a feature has a value where nothing was fresh.
        LookaheadError: a row holds a candle that closed after its ``as_of``.
    """
    T, N, F = len(panel.as_of_T), len(panel.asset_ids), len(panel.features)
    for name, array in panel.row_arrays.items():
        expected = {"as_of_T": (T,), "feature_TNF": (T, N, F)}.get(name, (T, N))
        if array.shape != expected:
            raise ContractError(f"panel: {name} has shape {array.shape}, where the panel is {expected}; export again")
    step_T = np.diff(panel.as_of_T[max(first_row - 1, 0) :])
    if (step_T != panel.grid.step_us).any():
        row = max(first_row - 1, 0) + int(np.flatnonzero(step_T != panel.grid.step_us)[0])
        raise ContractError(
            f"panel: {panel.as_of_T[row]} is followed by {panel.as_of_T[row + 1]}, not by the next row, "
            f"{panel.grid.words()} later; export again"
        )
    rows = slice(first_row, None)
    fresh_TN, age_TN, mark_TN = panel.is_fresh_TN[rows], panel.age_hours_TN[rows], panel.mark_price_TN[rows]
    _refuse(panel, first_row, age_TN < 0, "holds a candle that closed after as_of", LookaheadError)
    _refuse(panel, first_row, panel.trade_price_TN[rows] <= 0, "has a trade price that is not positive")
    if panel.dividend_TN is not None:
        _refuse(panel, first_row, panel.dividend_TN[rows] <= 0, "has a dividend that is not positive")
    _refuse(panel, first_row, np.isfinite(mark_TN) != np.isfinite(age_TN), "has a mark without an age, or an age without a mark")
    _refuse(panel, first_row, fresh_TN & ~np.isfinite(mark_TN), "is fresh and has no mark")
    _refuse(panel, first_row, fresh_TN != np.isfinite(panel.quote_volume_TN[rows]), "has a volume that disagrees with is_fresh")
    if first_row == 0:
        before_TN = np.concatenate([mark_TN[:1] if has_past else np.full((1, N), np.nan), mark_TN[:-1]])
    else:
        before_TN = panel.mark_price_TN[first_row - 1 : -1]
    moved_TN = ~fresh_TN & (mark_TN != before_TN) & ~(np.isnan(mark_TN) & np.isnan(before_TN))
    _refuse(panel, first_row, moved_TN, "has a mark that changed although nothing was fresh")
    for feature, name in enumerate(panel.features):
        value_TN = panel.feature_TNF[rows, :, feature]
        _refuse(panel, first_row, ~np.isnan(value_TN) & ~fresh_TN, f"has {name} where nothing was fresh")
        _refuse(panel, first_row, np.isinf(value_TN), f"has an infinite {name}")


def check_windows(panel: Panel, row_R: NDArray[np.int64], lookback: int, *, last_row: int | None = None) -> None:
    """Refuse decision rows whose window (the ``lookback`` bars up to and including the row) does not lie in the panel.

    Raises:
        ContractError: rows are not ascending, or a window starts before the panel.
        LookaheadError: a row lies behind ``last_row`` (the panel's last where none).
    """
    if len(row_R) == 0:
        return
    if (np.diff(row_R) <= 0).any():
        raise ContractError("windows: rows are not ascending and distinct; sort them first")
    if row_R[0] < lookback - 1:
        raise ContractError(
            f"windows: row {row_R[0]} has {row_R[0] + 1} bars behind it, where {lookback} are read; start at {lookback - 1}"
        )
    limit = len(panel.as_of_T) - 1 if last_row is None else last_row
    if row_R[-1] > limit:
        raise LookaheadError(f"windows: row {row_R[-1]} lies behind the last row that may be read, {limit}")


def check_cut_off(fitted_last: np.datetime64, cut_off: np.datetime64, what: str = "scaler") -> None:
    """Refuse something that was fitted on rows behind its model's cut-off.

    Raises:
        LookaheadError: ``fitted_last``, the newest row (or label end) that was used, lies behind ``cut_off``.
    """
    if fitted_last > cut_off:
        late = (fitted_last - cut_off) / np.timedelta64(1, "h")
        raise LookaheadError(
            f"{what}: fitted on rows up to {fitted_last}Z, {late:g} h behind the cut-off {cut_off}Z; fit it again"
        )


def _refuse(
    panel: Panel, first_row: int, wrong_TN: NDArray[np.bool_], what: str, kind: type[ContractError] = ContractError
) -> None:
    if wrong_TN.any():
        row, asset = (int(place) for place in np.argwhere(wrong_TN)[0])
        raise kind(
            f"panel: {panel.asset_ids[asset]} at {panel.as_of_T[first_row + row]}Z {what} "
            f"({int(wrong_TN.sum())} such places); build the SQL models and export again"
        )


def _is_finite(values: pd.Series) -> pd.Series:
    return pd.Series(np.isfinite(values.to_numpy(dtype=float)), index=values.index)
