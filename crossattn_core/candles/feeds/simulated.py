"""The simulated market as a feed: no network, no account, the truth known. What it simulates: see ``simulated_market.py``."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from crossattn_core.candles.feeds.feed import KEYS, Feed, empty_rows, known_rows
from crossattn_core.candles.feeds.registry import FEEDS
from crossattn_core.candles.feeds.simulated_market import Market, is_stress, planted_truth
from crossattn_core.days import bounds, to_naive
from crossattn_core.errors import PermanentFeedError
from crossattn_core.experiment import Experiment, Period, SimulatedMarket
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.universe import Asset, Kind, assets_by_name

__all__ = ["SimulatedFeed", "planted_truth"]


@FEEDS.register("simulated")
def open_simulated(experiment: Experiment, clock: Callable[[], datetime]) -> Feed:
    """The embedded market of ``feed.simulated`` over the experiment's assets and period."""
    return SimulatedFeed(experiment.feed.simulated, experiment.assets, experiment.period, clock, experiment.candle_grid)


class SimulatedFeed(Feed):
    """The embedded market as a feed.

    Args:
        settings: seed, planted leads, regimes.
        assets: the universe; leads that name others are left out.
        period: its first day is where every price starts.
        clock: aware UTC; candles after it do not exist yet. None: the end of the period, or of the day that is read.
        grid: the candles are one bar of it long.
    """

    kind = "simulated"

    def __init__(
        self,
        settings: SimulatedMarket,
        assets: Sequence[Asset],
        period: Period,
        clock: Callable[[], datetime] | None = None,
        grid: Grid = HOURLY,
    ) -> None:
        super().__init__()
        self._settings, self._grid = settings, grid
        self._assets = {asset.asset_id: asset for asset in assets}
        self._leads = planted_truth(settings, assets)
        self._start = bounds(period.start)[0]
        self._clock = clock
        self._end = bounds(period.end or period.start)[1]
        self._simulated: Market | None = None

    def now(self) -> datetime:
        """The injected clock, or the end of the period where there is none."""
        return self._clock() if self._clock is not None else self._end.replace(tzinfo=UTC)

    def window_days(self, asset: Asset, kind: str = "candles") -> int:
        """Any span is one cheap read; what is stored at once is at most a million candles."""
        return 1_000_000 // self._grid.bars_per_day

    def origin(self, asset: Asset) -> dict[str, object]:
        """The market's knobs by their hash."""
        return {"simulated": self._settings.content_hash()}

    def listed(self, asset: Asset) -> datetime:
        """The first instant of the simulated market."""
        return self._start

    def candles(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Candles with closed_at in (start, end] that are closed by the clock."""
        return self._rows("candles", asset, start, end)

    def funding(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Settlements with settled_at in (start, end]; every eight hours for perpetuals, none for others."""
        return self._rows("funding", asset, start, end)

    def dividends(self, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        """Dividends with ex_at in (start, end]; four a year for shares where the market has a dividend yield."""
        return self._rows("dividends", asset, start, end)

    def truth(self, end: datetime) -> dict[str, object]:
        """Planted leads (with asset keys) and regime spells up to ``end`` (naive UTC), ready for JSON."""
        named = assets_by_name(list(self._assets.values()))
        leads = [
            {**lead.model_dump(), "leader_id": named[lead.leader].asset_id, "follower_id": named[lead.follower].asset_id}
            for lead in self._leads
        ]
        hours = max(int((end - self._start).total_seconds() // 3600), 0)
        is_stress_T = is_stress(self._settings, hours)
        changes = np.flatnonzero(np.diff(is_stress_T.astype(int), prepend=-1))
        spells = [
            {"start": (self._start + timedelta(hours=int(hour))).isoformat(), "regime": "stress" if is_stress_T[hour] else "calm"}
            for hour in changes
        ]
        knobs = self._settings.model_dump(mode="json", exclude={"leads"})
        until = (self._start + timedelta(hours=hours)).isoformat()
        return {"seed": self._settings.seed, "until": until, "leads": leads, "regimes": spells, "settings": knobs}

    def _rows(self, kind: Kind, asset: Asset, start: datetime, end: datetime) -> pd.DataFrame:
        self.traffic.count_request()
        if asset.asset_id not in self._assets:
            known = ", ".join(sorted(self._assets))
            raise PermanentFeedError(f"{asset.asset_id}: not in this simulated market ({known}); add it under 'assets'")
        if end <= self._start:
            return empty_rows(kind)
        now = to_naive(self.now())
        if self._simulated is None or self._simulated.end < min(end, now):
            # At once as far as the period and the clock go: a longer market has a shorter one as its prefix.
            horizon = max(min(end, now), min(self._end, now))
            self._simulated = Market(self._settings, list(self._assets.values()), self._leads, self._start, horizon, self._grid)
        rows = self._simulated.series[asset.asset_id][kind]
        # In time order: a day of a long history costs what a day of a short one does.
        first, stop = np.searchsorted(rows[KEYS[kind]].to_numpy(), np.array([start, end], "datetime64[us]"), side="right")
        return known_rows(kind, rows.iloc[first:stop], asset, start, end, now)
