"""Turnover, exposure, trades, and what they cost."""

from crossattn_core.backtest.metrics.registry import metric
from crossattn_core.backtest.metrics.track import Track
from crossattn_core.days import HOURS_PER_YEAR


@metric("fraction", better="lower")
def turnover_per_day(track: Track) -> float:
    """Mean over days of sum |trade| / equity."""
    return float(track.turnover_T.sum()) / track.rows * 24 if track.rows else float("nan")


@metric("fraction", better="lower")
def turnover_per_year(track: Track) -> float:
    """The same over the 8760 hours of a year."""
    return float(track.turnover_T.sum()) / track.rows * HOURS_PER_YEAR if track.rows else float("nan")


@metric("fraction")
def average_gross_exposure(track: Track) -> float:
    """Mean over rows of sum |weight|."""
    return float(track.gross_T.mean())


@metric("fraction")
def average_net_exposure(track: Track) -> float:
    """Mean over rows of the sum of weights."""
    return float(track.net_T.mean())


@metric("count")
def trades(track: Track) -> int:
    """Trades of one asset at one fill."""
    return track.trades


@metric("count", better="lower")
def margin_calls(track: Track) -> int:
    """Rows at whose end gross exposure exceeded the margin."""
    return track.margin_calls


@metric("flag", better="lower")
def ruined(track: Track) -> bool:
    """Whether equity reached zero."""
    return track.ruined


@metric("fraction", better="lower")
def cost_share(track: Track) -> float:
    """All costs paid / capital."""
    return sum(track.paid.values())
