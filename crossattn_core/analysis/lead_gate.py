"""The gate: which tested leads are named, and the reason for each verdict.

A lead passes where returns show it (``q_value``), where it stands beside the follower's other leads (``conditional_p``), where
the model's forecasts rest on the other assets (``ic_gain``), and where attention looks at the leader (``fair_multiple``). Where
attention singles out no member of a group that leads, the group is named.
"""

from typing import Any

import numpy as np
import pandas as pd

from crossattn_core.analysis.lead_selection import MAX_CONDITIONAL_P
from crossattn_core.analysis.lead_worth import WORTH_COLUMNS
from crossattn_core.experiment import AnalysisSettings
from crossattn_core.grid import HOURLY, Grid

__all__ = ["LEADER_COLUMNS", "gate"]

LEADER_COLUMNS = (
    "leader",
    "follower",
    "members",
    "lag",
    "weight",
    "fair_multiple",
    "attention_lag",
    "correlation",
    "shape",
    "z",
    "pairs",
    "p_value",
    "q_value",
    "conditional_p",
    "ic_gain",
    "ic_gain_low",
    "ic_gain_high",
    *WORTH_COLUMNS,
    "cost_bps",
    "tradable",
    "named",
    "why",
)
"""Grain: leader and follower; named ones first, then by q-value. ``leader`` an asset's id or a group's name, ``members`` the ids
of its assets; ``lag`` and ``attention_lag`` in bars; ``weight`` share of the follower's attention on the leader,
``fair_multiple`` over the fair share; ``ic_gain`` of the follower's forecast beside the same model without cross-attention, with
its interval; ``conditional_p`` beside the follower's other leads (NaN: not tested). Of named leads alone:
``lead_worth``'s columns, ``cost_bps`` of a round trip, and ``tradable``, whether the strongest signals make more than that: the
whole interval of a rule known beforehand lies above it; missing where unknown."""


def gate(table: pd.DataFrame, symbol_by_id: dict[str, str], settings: AnalysisSettings, grid: Grid = HOURLY) -> pd.DataFrame:
    """Name the leads that pass, with the reason for each verdict (``LEADER_COLUMNS``, worth unknown)."""
    significant = table[(table["q_value"] <= settings.false_discovery_rate) & (table["conditional_p"] <= MAX_CONDITIONAL_P)]
    by_size = significant.sort_values("z", key=_sort_key, ascending=False).drop_duplicates("follower")
    strongest = dict(
        zip(by_size["follower"], by_size["leader"].map(lambda name: symbol_by_id.get(str(name), str(name))), strict=True)
    )
    verdicts = [_verdict(row, settings, strongest, grid) for row in table.to_dict("records")]
    table = table.assign(named=[named for named, _ in verdicts], why=[why for _, why in verdicts])
    table = _groups_of_unnamed(table, symbol_by_id, settings, grid)
    table = table.assign(**dict.fromkeys((*WORTH_COLUMNS, "cost_bps"), float("nan")), tradable=None)
    table = table.sort_values(["named", "q_value", "z"], ascending=[False, True, False], key=_sort_key, ignore_index=True)
    return table[list(LEADER_COLUMNS)]


def _verdict(row: dict[Any, Any], settings: AnalysisSettings, strongest: dict[str, str], grid: Grid) -> tuple[bool, str]:
    rate = settings.false_discovery_rate
    size = f"|z| {abs(row['z']):.1f} at {grid.label(row['lag'])}"
    if not row["q_value"] <= rate:
        return False, f"no lead in returns: q {row['q_value']:.3f} over {rate:g} ({size})"
    if row["beside"]:
        return (
            False,
            f"cannot be told apart from the {row['beside']}: p {row['conditional_p']:.3f} beside it ({size})",
        )
    if not row["conditional_p"] <= MAX_CONDITIONAL_P:
        other = strongest.get(row["follower"], "other leads")
        return False, f"explained by {other}: p {row['conditional_p']:.3f} beside the follower's other leads ({size} alone)"
    return _verdict_of_model(row, settings, grid)


def _verdict_of_model(row: dict[Any, Any], settings: AnalysisSettings, grid: Grid) -> tuple[bool, str]:
    """Whether the model rests on a lead that returns show, and why."""
    seen = f"|z| {abs(row['z']):.1f} at {grid.label(row['lag'])}, q {row['q_value']:.4f}"
    if np.isnan(row["ic_gain"]):
        return False, f"{seen}; no out-of-sample forecasts to judge the model by"
    interval = f"[{row['ic_gain_low']:+.3f}, {row['ic_gain_high']:+.3f}]"
    gain = f"IC {row['ic_gain']:+.3f} {interval} beside the same model without cross-attention"
    if not row["ic_gain_low"] > settings.minimum_ic_gain:
        return False, f"{seen}, but {gain}: not above {settings.minimum_ic_gain:g}"
    if row["holds_all"]:
        return True, f"{seen}; {gain}; all attention lies on the {row['leader']}"
    if not row["fair_multiple"] > 1:
        return False, f"{seen}; {gain}; attention gives the leader {row['fair_multiple']:.2f} of its fair share"
    return True, f"{seen}; {gain}; attention {row['fair_multiple']:.1f} times its fair share"


def _groups_of_unnamed(table: pd.DataFrame, symbol_by_id: dict[str, str], settings: AnalysisSettings, grid: Grid) -> pd.DataFrame:
    """Name the strongest group of a follower that leads even without those of its members that returns single out, where
    attention singles out none."""
    table = table.copy()
    stands = (table["q_value"] <= settings.false_discovery_rate) & (table["conditional_p"] <= MAX_CONDITIONAL_P)
    for follower, leads in table[stands].groupby("follower"):
        if leads["named"].any():
            continue
        singled = {member for members in leads["members"] for member in members}
        groups = table[(table["follower"] == follower) & (table["members"].map(len) > 1)]
        groups = groups[
            (groups["q_value"] <= settings.false_discovery_rate) & (groups["rest_p"] <= MAX_CONDITIONAL_P)
        ].sort_values("z", key=_sort_key, ascending=False)
        for k, group in groups.iterrows():
            named, why = _verdict_of_model(group.to_dict(), settings, grid)
            if named and singled <= set(group["members"]):
                symbols = ", ".join(symbol_by_id[member] for member in sorted(singled))
                table.loc[k, ["named", "why"]] = [True, f"{why}; in returns {symbols} stands out, in attention no member does"]
                break
    return table


def _sort_key(column: pd.Series) -> pd.Series:
    return column.abs() if column.name == "z" else column
