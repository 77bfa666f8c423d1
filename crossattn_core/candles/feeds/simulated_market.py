"""A market that is known: prices with planted leaders, a common factor, regimes, sessions, funding, dividends and holes.

Each asset's log return over a bar is ``sigma * z`` with z of unit variance:

    z = sqrt(c) * factor + sum over leads sqrt(share) * response(z of the leader, lag earlier) + sqrt(rest) * own noise

where c is the common share (scaled up in stress), ``response`` is the identity or (z^2 - 1) / sqrt(2), and sigma follows
the regime (calm or stress, which change by the hour), the asset and the bar's length. A lead between assets of one calendar
counts consecutive bars inside a session; between calendars it counts rows of the grid. The first bars of a session have
nothing to follow.

Every random number comes from a stream of its own (seed, asset, purpose) read in time order from the first
day on, so a longer period has the shorter one as its prefix, bit for bit, and an asset's own noise does not
depend on who else is in the universe.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crossattn_core.days import bounds
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import PlantedLead, SimulatedMarket
from crossattn_core.grid import HOURLY, Grid
from crossattn_core.trading_calendar import ALWAYS_OPEN, Bars, expected_bars
from crossattn_core.universe import Asset, Kind, asset_names, assets_by_name

__all__ = ["Market", "Series", "is_stress", "planted_truth"]

Floats = NDArray[np.float64]

_HOUR = np.timedelta64(3_600_000_000, "us")
_OVERNIGHT_HOURS = 4.0
"""Hours of trading that the move from one session to the next is worth."""
_FUNDING_HOURS = 8
_SESSIONS_A_QUARTER = 63
_FIRST_PRICES = {
    "BTCUSDT": 93_000.0, "ETHUSDT": 3_300.0, "SOLUSDT": 190.0, "XRPUSDT": 2.1, "DOGEUSDT": 0.32, "ADAUSDT": 0.85,
    "AAPL": 245.0, "NVDA": 135.0, "AMD": 120.0, "MSFT": 420.0,
}  # fmt: skip


def planted_truth(settings: SimulatedMarket, assets: Sequence[Asset]) -> list[PlantedLead]:
    """The planted edges whose leader and follower are both among ``assets``, in the order planted.

    Raises:
        ExperimentError: a follower's leads explain more than its variance has room for, or leads form a circle.
    """
    known = assets_by_name(assets).keys()
    leads = [lead for lead in settings.leads if {lead.leader, lead.follower} <= known]
    for follower in sorted({lead.follower for lead in leads}):
        planted = sum(lead.share for lead in leads if lead.follower == follower)
        if planted + settings.common_share >= 0.95:
            raise ExperimentError(
                f"feed.simulated: leads explain {planted:.2f} of {follower}'s variance and the common factor "
                f"{settings.common_share:.2f}; together they must stay below 0.95: lower a share"
            )
    _leaders_first(assets, leads)
    return leads


Series = dict[Kind, pd.DataFrame]
"""One asset's whole simulated history by kind: the columns of ``COLUMNS`` but asset_id and fetched_at; missing candles left out.

A dividend is paid for a unit held at the opening bell of its ex-date: the price opens lower by as much, moves apart."""


class Market:
    """Everything simulated from ``start`` to the end of the day of ``end``, in candles one bar of ``grid`` long."""

    def __init__(
        self,
        settings: SimulatedMarket,
        assets: Sequence[Asset],
        leads: Sequence[PlantedLead],
        start: datetime,
        end: datetime,
        grid: Grid = HOURLY,
    ) -> None:
        self.end = bounds((end - timedelta(microseconds=1)).date())[1]
        hours = int((self.end - start).total_seconds() // 3600)
        self._settings, self._start, self._grid = settings, np.datetime64(start, "us"), grid
        self._is_stress_G = is_stress(settings, hours)
        self._bars = {calendar: expected_bars(calendar, start, self.end, grid.step) for calendar in {a.calendar for a in assets}}
        self._named, self._leads = assets_by_name(assets), leads
        self.moves: dict[str, tuple[str, Floats]] = {}
        """Asset key -> its calendar and the unit-variance moves of its bars; leaders before their followers."""
        self.series: dict[str, Series] = {}
        for asset in _leaders_first(assets, leads):
            z_T = self._moves(asset, [lead for lead in leads if self._named[lead.follower] == asset], self.moves)
            self.moves[asset.asset_id] = (asset.calendar, z_T)
            self.series[asset.asset_id] = self._traded(asset, z_T)

    def calm_volatility(self, asset: Asset) -> float:
        """Standard deviation of an hourly log return of the asset in the calm regime."""
        return self._settings.calm_hourly_volatility * (0.7 + 0.8 * float(self._scale(asset)[0]))

    def _scale(self, asset: Asset) -> Floats:
        return _stream(self._settings.seed, f"scale {asset.asset_id}").random(3)

    def _moves(self, asset: Asset, leads: Sequence[PlantedLead], moves: dict[str, tuple[str, Floats]]) -> Floats:
        """Unit-variance moves of the asset's bars."""
        settings, bars = self._settings, self._bars[asset.calendar]
        is_stress_T = self._stress_during(bars)
        led_T, share_T = np.zeros(len(bars)), np.zeros(len(bars))
        for lead in leads:
            calendar, z_leader = moves[self._named[lead.leader].asset_id]
            source_T = self._leading_bar(lead.lag, asset.calendar, calendar)
            is_led_T = source_T >= 0
            z_T = z_leader[source_T]
            response_T = z_T if lead.shape == "linear" else (z_T**2 - 1) / np.sqrt(2)
            led_T += np.where(is_led_T, np.sqrt(lead.share) * response_T, 0.0)
            share_T += np.where(is_led_T, lead.share, 0.0)
        planted = sum(lead.share for lead in leads)
        stressed = min(settings.common_share * settings.stress_multiple, 0.95 - planted)
        common_T = np.where(is_stress_T, stressed, settings.common_share)
        factor_T = _stream(settings.seed, f"factor {asset.market} {asset.calendar}").standard_normal(len(bars))
        own_T = _stream(settings.seed, f"own {asset.asset_id}").standard_normal(len(bars))
        return np.sqrt(common_T) * factor_T + led_T + np.sqrt(1 - common_T - share_T) * own_T

    def _leading_bar(self, lag: int, calendar: str, leader_calendar: str) -> NDArray[np.int64]:
        """For each bar of the follower, the leader's bar ``lag`` earlier; -1 where there is none."""
        bars, leader_bars = self._bars[calendar], self._bars[leader_calendar]
        if calendar == leader_calendar:
            source_T = np.arange(len(bars)) - lag
            is_inside_T = (source_T >= 0) & (bars.session_T == bars.session_T[np.maximum(source_T, 0)])
            return np.where(is_inside_T, source_T, -1)
        row_T, leader_row = self._grid_row(bars), self._grid_row(leader_bars)
        newest_T = np.searchsorted(leader_row, row_T - lag, side="right") - 1
        is_there_T = (newest_T >= 0) & (leader_row[np.maximum(newest_T, 0)] == row_T - lag)
        return np.where(is_there_T, newest_T, -1)

    def _grid_row(self, bars: Bars) -> NDArray[np.int64]:
        """The row of the grid, counted from the start, at which each bar is first known."""
        return -((self._start - bars.closed_T) // self._grid.step_us)

    def _stress_during(self, bars: Bars) -> NDArray[np.bool_]:
        return self._is_stress_G[self._hour_during(bars)]

    def _hour_during(self, bars: Bars) -> NDArray[np.int64]:
        """The hour, counted from the start, in which each bar ends."""
        return (bars.closed_T - np.timedelta64(1, "us") - self._start) // _HOUR

    def _is_out_G(self, venue: str) -> NDArray[np.bool_]:
        """Whether each hour from the start on lies in an outage of the venue."""
        hours = len(self._is_stress_G)
        draw_G2 = _stream(self._settings.seed, f"outage {venue}").random((hours, 2))
        is_out_G = np.zeros(hours, dtype=bool)
        for start in np.flatnonzero(draw_G2[:, 0] < self._settings.outages_per_year / 8760):
            is_out_G[start : start + 2 + int(11 * draw_G2[start, 1])] = True
        return is_out_G

    def _traded(self, asset: Asset, z_T: Floats) -> Series:
        """Candles and funding around the moves."""
        settings, bars = self._settings, self._bars[asset.calendar]
        count = len(bars)
        scale, calm = self._scale(asset), self.calm_volatility(asset)
        length_T = (bars.closed_T - bars.opened_T) / _HOUR
        hourly_T = calm * np.where(self._stress_during(bars), settings.stress_multiple, 1.0)
        sigma_T = hourly_T * np.sqrt(length_T)
        move_T = sigma_T * z_T
        gap_T = self._overnight(asset, bars) * hourly_T
        first_price = _FIRST_PRICES.get(asset.symbol) or float(10 ** (0.5 + 2.5 * scale[1]))
        digits = 6 - int(np.floor(np.log10(first_price)))
        ex_places, payout = self._ex_dates(asset, bars)
        gap_T[ex_places] += np.log1p(-payout)
        log_close_T = np.log(first_price) + np.cumsum(gap_T + move_T)
        log_open_T = log_close_T - move_T
        uniform_T2 = _stream(settings.seed, f"range {asset.asset_id}").random((count, 2))
        # The exact maximum (and minimum) of a Brownian bridge between open and close.
        spread_T2 = np.sqrt(move_T[:, None] ** 2 - 2 * sigma_T[:, None] ** 2 * np.log1p(-uniform_T2))
        close_T, open_T = _priced(log_close_T, digits), _priced(log_open_T, digits)
        high_T = np.maximum(_priced(log_open_T + (move_T + spread_T2[:, 0]) / 2, digits), np.maximum(open_T, close_T))
        low_T = np.minimum(_priced(log_open_T + (move_T - spread_T2[:, 1]) / 2, digits), np.minimum(open_T, close_T))
        liquidity = 10 ** (6.5 + 1.5 * scale[2])
        surprise_T = _stream(settings.seed, f"volume {asset.asset_id}").standard_normal(count)
        value_T = liquidity * length_T * (0.5 + np.abs(z_T)) * np.exp(0.4 * surprise_T)
        mean_price_T = (open_T + high_T + low_T + close_T) / 4
        volume_digits = 3 if asset.calendar == ALWAYS_OPEN else 0  # shares are whole
        volume_T = np.maximum(np.round(value_T / mean_price_T, volume_digits), 10.0**-volume_digits)
        candles = pd.DataFrame(
            {
                "opened_at": bars.opened_T,
                "closed_at": bars.closed_T,
                "open": open_T,
                "high": high_T,
                "low": low_T,
                "close": close_T,
                "volume": volume_T,
                "turnover": volume_T * mean_price_T,
            }
        )
        is_there_T = _stream(settings.seed, f"missing {asset.asset_id}").random(count) >= settings.missing_share
        is_there_T &= ~self._is_out_G(asset.venue)[self._hour_during(bars)]
        amount_T = np.round(close_T[ex_places - 1] * payout, digits + 2)
        return {
            "candles": candles[is_there_T].reset_index(drop=True),
            "funding": self._funded(asset, z_T),
            "dividends": pd.DataFrame({"ex_at": bars.opened_T[ex_places], "amount": amount_T}),
        }

    def _ex_dates(self, asset: Asset, bars: Bars) -> tuple[NDArray[np.int64], float]:
        """The opening bars of one session in every quarter, and the share of the price that is paid at each."""
        payout = self._settings.dividend_yield / 4
        if not payout or not asset.pays_dividends:
            return np.empty(0, dtype=np.int64), 0.0
        opening = np.flatnonzero(np.diff(bars.session_T) != 0) + 1
        first = int(_stream(self._settings.seed, f"dividends {asset.asset_id}").random() * _SESSIONS_A_QUARTER)
        return opening[first::_SESSIONS_A_QUARTER], payout

    def _overnight(self, asset: Asset, bars: Bars) -> Floats:
        """Moves between sessions in units of an hour's volatility; 0 inside them."""
        noise_T = _stream(self._settings.seed, f"overnight {asset.asset_id}").standard_normal(len(bars))
        is_opening_T = np.diff(bars.session_T, prepend=bars.session_T[:1]) != 0
        return np.where(is_opening_T, noise_T * np.sqrt(_OVERNIGHT_HOURS), 0.0)

    def _funded(self, asset: Asset, z_T: Floats) -> pd.DataFrame:
        """Settlements at 00, 08 and 16: a base rate, what the last eight hours (or the bar around them) did, and noise."""
        if not asset.pays_funding or asset.calendar != ALWAYS_OPEN:
            return pd.DataFrame({"settled_at": np.empty(0, "datetime64[us]"), "rate": np.empty(0)})
        settled_T = expected_bars(asset.calendar, self._start.item(), self.end, timedelta(hours=_FUNDING_HOURS)).closed_T
        # A mean of eight hourly moves whatever the bar: as large for sixteen half-hours, or for a share of a day.
        per_settlement = _FUNDING_HOURS / self._grid.hours_per_bar
        if per_settlement >= 1:
            pressure_T = z_T[: len(settled_T) * int(per_settlement)].reshape(len(settled_T), -1).mean(axis=1)
            pressure_T = pressure_T * np.sqrt(per_settlement / _FUNDING_HOURS)
        else:
            pressure_T = np.repeat(z_T, round(1 / per_settlement)) / np.sqrt(_FUNDING_HOURS)
        noise_T = _stream(self._settings.seed, f"funding {asset.asset_id}").standard_normal(len(settled_T))
        rate_T = np.round(1e-4 + 1e-4 * pressure_T + 3e-5 * noise_T, 8)
        return pd.DataFrame({"settled_at": settled_T, "rate": rate_T})


def _leaders_first(assets: Sequence[Asset], leads: Sequence[PlantedLead]) -> list[Asset]:
    """Assets with every leader before its followers."""
    waiting, placed, named = list(assets), list[Asset](), assets_by_name(assets)
    pairs = [(named[lead.leader], named[lead.follower]) for lead in leads]
    while waiting:
        ready = [a for a in waiting if not any(follower == a and leader in waiting for leader, follower in pairs)]
        if not ready:
            raise ExperimentError(
                f"feed.simulated.leads: {', '.join(sorted(asset_names(waiting)))} follow each other in a circle; "
                "remove one of these leads"
            )
        placed.extend(ready)
        waiting = [asset for asset in waiting if asset not in ready]
    return placed


def is_stress(settings: SimulatedMarket, hours: int) -> NDArray[np.bool_]:
    """Whether each hour from the start on is in the stress regime; the market starts calm."""
    is_switch_G = _stream(settings.seed, "regime").random(hours) < 1 / (settings.mean_regime_days * 24)
    return np.cumsum(is_switch_G) % 2 == 1


def _stream(seed: int, purpose: str) -> np.random.Generator:
    """A random stream of its own for each purpose."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(sha256(f"{seed} {purpose}".encode()).digest()[:16], "big")))


def _priced(log_price_T: Floats, digits: int) -> Floats:
    """Prices in ticks of ``10 ** -digits``; at least one tick."""
    return np.maximum(np.round(np.exp(log_price_T), digits), 10.0**-digits)
