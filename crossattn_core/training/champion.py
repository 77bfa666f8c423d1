"""The champion: the family that is followed, chosen from realised walk-forward results and nothing else.

A family takes over only when its net returns beat the fallback's, and those of the family in charge, in a paired
block bootstrap over the newest days; where nothing beats the fallback, the fallback is followed. The choice of a day
reads returns of the days before it.

Axes: D days, S strategies, B bootstrap draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.errors import ContractError
from crossattn_core.experiment import ChampionSettings

__all__ = ["CHAMPION_COLUMNS", "Duel", "champion_by_day", "paired_advantage"]

CHAMPION_COLUMNS = ("day", "champion", "chosen_on", "why")
"""Grain: day. ``champion`` is followed on the day; ``chosen_on`` is the day whose 00:00 it was chosen at."""


@dataclass(frozen=True)
class Duel:
    """One strategy's daily net return minus another's, on the same days."""

    mean: float
    """Mean difference, fraction a day; NaN with too few common days."""
    low: float
    """Lower one-sided bound at the asked confidence; NaN with too few common days."""
    days: int


def paired_advantage(
    challenger_D: NDArray[np.float64], holder_D: NDArray[np.float64], settings: ChampionSettings, *, seed: int, samples: int
) -> Duel:
    """How much a challenger's net return exceeds the holder's, with a circular-block bootstrap bound.

    Days on which either has no return (NaN) do not count. Blocks keep runs of days together; both are drawn alike.
    """
    difference_D = challenger_D - holder_D
    difference_D = difference_D[np.isfinite(difference_D)]
    days = len(difference_D)
    if days < settings.minimum_days:
        return Duel(float("nan"), float("nan"), days)
    block = min(settings.block_days, days)
    blocks = -(-days // block)
    generator = np.random.default_rng(seed)
    start_BX = generator.integers(0, days, size=(samples, blocks))
    # Sums of whole blocks by running totals over the days laid twice end to end.
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([difference_D, difference_D[:block]]))])
    mean_B = (total[start_BX + block] - total[start_BX]).sum(axis=1) / (blocks * block)
    return Duel(float(difference_D.mean()), float(np.quantile(mean_B, 1 - settings.confidence)), days)


def champion_by_day(
    net_return_DS: pd.DataFrame, families: Sequence[str], settings: ChampionSettings, *, seed: int, samples: int = 500
) -> pd.DataFrame:
    """Who is followed on each day of ``net_return_DS`` and on the day after it (``CHAMPION_COLUMNS``).

    Args:
        net_return_DS: realised daily returns net of all costs, one column a strategy (the fallback among them), one row a
            day, index naive UTC midnight; NaN where a strategy was not running or its models were not healthy.
        families: columns that may be chosen beside the fallback.
        seed: of the bootstrap; the same for every day, so a day's choice does not depend on how many came before.

    Raises:
        ContractError: a column is missing, or the days have holes.
    """
    missing = [name for name in (settings.fallback, *families) if name not in net_return_DS.columns]
    if missing:
        raise ContractError(f"net returns lack {', '.join(missing)}; simulate those strategies first")
    day_D = pd.DatetimeIndex(net_return_DS.index)
    if len(day_D) > 1 and not (np.diff(day_D.to_numpy()) == np.timedelta64(1, "D")).all():
        raise ContractError("net returns have holes between days; give every day, NaN where nothing ran")
    rows: list[tuple] = []
    holder, chosen_on, why = settings.fallback, None, "nothing realised yet"
    every_day = day_D.append(day_D[-1:] + pd.Timedelta(1, "D"))
    for d, day in enumerate(every_day):
        if d % settings.every_days == 0:
            newest = net_return_DS.iloc[max(d - settings.window_days, 0) : d]
            holder, why = _choose(newest, holder, families, settings, seed, samples)
            chosen_on = day
        rows.append((day, holder, chosen_on, why))
    champions = pd.DataFrame(rows, columns=list(CHAMPION_COLUMNS))
    return champions.astype({"day": "datetime64[us]", "chosen_on": "datetime64[us]"})


def _choose(
    newest: pd.DataFrame, holder: str, families: Sequence[str], settings: ChampionSettings, seed: int, samples: int
) -> tuple[str, str]:
    def duel(challenger: str, against: str) -> Duel:
        challenger_D, against_D = (newest[name].to_numpy(dtype=float) for name in (challenger, against))
        return paired_advantage(challenger_D, against_D, settings, seed=seed, samples=samples)

    fallback = settings.fallback
    against_fallback = {family: duel(family, fallback) for family in families if family != fallback}
    worthy = {family: result for family, result in against_fallback.items() if result.low > 0}
    if not worthy:
        said = [f"{family} {_said(result)}" for family, result in against_fallback.items()]
        return fallback, f"nothing beats {fallback} at {settings.confidence:.0%}: {'; '.join(said)}"
    best = max(worthy, key=lambda family: worthy[family].mean)
    if holder in worthy and holder != best:
        against_holder = duel(best, holder)
        if not against_holder.low > 0:
            return holder, f"stays: {best} is not shown to beat it, {_said(against_holder)}"
    return best, f"beats {fallback}: {_said(worthy[best])}"


def _said(duel: Duel) -> str:
    if np.isnan(duel.mean):
        return f"too few days ({duel.days})"
    return f"{duel.mean * 1e4:+.1f} bps a day, at least {duel.low * 1e4:+.1f} over {duel.days} days"
