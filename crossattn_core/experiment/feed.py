"""Where candles come from, and which days: the knobs of feeds, the embedded market and the period."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from crossattn_core.experiment.registered import FeedName
from crossattn_core.experiment.section import Section
from crossattn_core.grid import BarName
from crossattn_core.universe import VENUES, Asset, VenueName

T = TypeVar("T")

__all__ = ["FeedSettings", "Period", "PlantedLead", "SimulatedMarket"]


class PlantedLead(Section):
    """One planted edge: the follower's return repeats part of the leader's, ``lag`` bars later."""

    leader: str
    """Symbol (or key) that moves first."""
    follower: str
    """Symbol (or key) that moves later."""
    lag: int = Field(ge=1, le=72)
    """Candles between the two moves."""
    share: float = Field(default=0.05, gt=0, lt=0.5)
    """Share of the follower's variance that the lead explains."""
    shape: Literal["linear", "squared"] = "linear"
    """'squared': the follower responds to the size of the leader's move, not its sign."""


class SimulatedMarket(Section):
    """The embedded market: deterministic by seed, its leaders known."""

    seed: int = Field(default=7, ge=0)
    """The market is a function of it."""
    leads: tuple[PlantedLead, ...] = (
        PlantedLead(leader="BTCUSDT", follower="ETHUSDT", lag=1, share=0.08),
        PlantedLead(leader="BTCUSDT", follower="SOLUSDT", lag=6, share=0.08),
        PlantedLead(leader="BTCUSDT", follower="XRPUSDT", lag=12, share=0.08),
        PlantedLead(leader="BTCUSDT", follower="DOGEUSDT", lag=18, share=0.08),
        PlantedLead(leader="ETHUSDT", follower="ADAUSDT", lag=23, share=0.08),
        PlantedLead(leader="NVDA", follower="AMD", lag=1, share=0.08),
    )
    """Planted edges; the truth is written beside the candles."""
    common_share: float = Field(default=0.10, ge=0, lt=0.9)
    """Share of variance from a factor that all assets of a market have in common."""
    calm_hourly_volatility: float = Field(default=0.004, gt=0, lt=0.1)
    """Standard deviation of an hourly log return in the calm regime."""
    stress_multiple: float = Field(default=2.0, ge=1, le=10)
    """Volatility and common-factor multiple in the stress regime."""
    mean_regime_days: float = Field(default=45.0, gt=1)
    """Mean length of a regime, days."""
    missing_share: float = Field(default=0.002, ge=0, lt=0.5)
    """Share of candles that the venue never published."""
    dividend_yield: float = Field(default=0.0, ge=0, lt=0.5)
    """Stocks: share of the price paid out in a year, in four dividends; 0: none."""
    outages_per_year: float = Field(default=0.0, ge=0, le=1000)
    """Mean number of outages of a whole venue, 2 to 12 hours each, in a year."""


class FeedSettings(Section):
    """Where each venue's candles come from. Swapping the feed changes no asset."""

    not_hashed: ClassVar[frozenset[str]] = frozenset(
        {
            "folder",
            "lake",
            "urls",
            "bybit_url",
            "yahoo_url",
            "requests_per_second",
            "timeout_seconds",
            "max_attempts",
            "recheck_days",
        }
    )

    kind: FeedName = "simulated"
    """'simulated', 'files' or 'api'; a plug-in may add others."""
    folder: str = ""
    """'files': root of the candle files; relative to the experiment file."""
    simulated: SimulatedMarket = SimulatedMarket()
    interval: BarName | None = None
    """Length of the candles that are fetched and kept; none: the grid's bar. A shorter one that divides the bar is put together
    into bars, exactly, so that one lake serves experiments of several grids."""
    lake: str = ""
    """Folder of a lake that several homes share, relative to the experiment file; empty: the home's own."""
    urls: dict[VenueName, str] = Field(default={})
    """'api': another base URL for a venue's API."""
    bybit_url: str = ""
    """'api': another base URL of Bybit's REST v5; the same as urls.bybit."""
    yahoo_url: str = ""
    """'api': another base URL for Yahoo's chart endpoint; the same as urls.yahoo."""
    requests_per_second: float = Field(default=60.0, gt=0, le=120)
    """'api': one limiter a venue; where the venue takes less (``Venue.requests_per_second``), that counts."""
    timeout_seconds: float = Field(default=15.0, gt=0, le=300)
    """'api': seconds that a request may take."""
    max_attempts: int = Field(default=6, ge=1, le=20)
    """Tries a request gets before it counts as failed."""
    adjust_splits: bool = True
    """Stocks, daily: prices as Yahoo adjusts them for dividends, which then are no cash flows. Intraday prices are adjusted for
    splits only, whatever this says."""
    publication_lag_seconds: dict[VenueName, int] = Field(default={"bybit": 0, "yahoo": 0}, validate_default=False)
    """A candle is known this long after it closed; 0 leaves the delay to the execution lag; a venue that is not named has its
    own."""
    recheck_days: int = Field(default=1, ge=0, le=30)
    """'api': stored days just before new ones that are fetched again, to find revisions and splits."""
    max_revision: float = Field(default=1e-6, ge=0)
    """Relative change of a stored price beyond which a later revision fails its check."""
    gap_tolerance: float = Field(default=0.02, ge=0, lt=1)
    """Share of an asset's expected candles that may be missing, of a day and of all days, before the check fails; three standard
    deviations of chance are allowed on top: of 24 hours two may be missing at 0.02. Every run does a day that fails anew."""
    declared_jumps: dict[str, tuple[date, ...]] = Field(default={})
    """Symbol (or asset key, where two assets share a symbol) -> UTC days on which its price really jumps: the first candle of
    such a day may be on another scale than the one before, which otherwise is held back as a split or another unit."""
    first_days: dict[str, date] = Field(default={})
    """Symbol or asset key -> its first day of trade, where the source does not say: before it no candle is expected."""
    last_days: dict[str, date] = Field(default={})
    """Symbol or asset key -> its last day of trade, where the source does not say: after it no candle is expected."""
    skip_beyond_reach: bool = False
    """Days older than the source keeps candles for are left out, instead of being refused: an open period that goes on for
    years starts where the source does."""

    @field_validator("folder", "lake")
    @classmethod
    def _folders_can_be_named(cls, given: str) -> str:
        if "\0" in given:
            raise ValueError("no folder's name holds a null byte")
        return given

    @field_validator("urls", "bybit_url", "yahoo_url")
    @classmethod
    def _addresses_hold_no_secret(cls, given: Any) -> Any:
        # An experiment is shared, and addresses are shown: in messages, in the ledger beside the candles, in the web UI.
        for address in given.values() if isinstance(given, dict) else [given]:
            parts = urlsplit(address)
            if address and (parts.scheme not in ("http", "https") or not parts.hostname):
                raise ValueError("an address is http://host or https://host, with a path where the API has one")
            if parts.username is not None or parts.query or parts.fragment:
                raise ValueError(
                    f"the address at {parts.hostname} holds a user, a password or a query; an experiment holds no secret: leave "
                    "them out, and let a proxy that HTTPS_PROXY names add what the source asks for"
                )
        return given

    def url_of(self, venue: VenueName) -> str:
        """Base URL of the venue's API, without a slash at its end; empty where a library knows it."""
        return (self.urls.get(venue) or getattr(self, f"{venue}_url", "") or VENUES.get(venue).url).rstrip("/")

    def request_rate(self, venue: VenueName) -> float:
        """Requests a second that the venue is asked at most."""
        return min(self.requests_per_second, VENUES.get(venue).requests_per_second)

    def declared(self, by_name: Mapping[str, T], asset: Asset) -> T | None:
        """What ``by_name`` (one of the knobs by symbol above) says of an asset: under its key, else under its symbol."""
        return by_name.get(asset.asset_id, by_name.get(asset.symbol))

    def publication_lag(self, venue: VenueName) -> timedelta:
        """How long after its close a candle of ``venue`` is known."""
        return timedelta(seconds=self.publication_lag_seconds.get(venue, VENUES.get(venue).publication_lag_seconds))


_FIRST_START = date(1900, 1, 1)
_MAX_LENGTH = timedelta(days=36_524)
"""A hundred years: every day of a period is a partition of every stage."""


class Period(Section):
    """The days that the experiment knows; day D holds the rows keyed in (D 00:00, D+1 00:00] UTC."""

    start: date = date(2025, 1, 1)
    """First day."""
    end: date | None = date(2025, 12, 31)
    """Last day, inclusive; none: until the newest complete day."""

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"period ends on {self.end}, before it starts on {self.start}; swap them")
        if self.start < _FIRST_START:
            raise ValueError(f"period starts on {self.start}; the earliest that one can start is {_FIRST_START}")
        if self.end is not None and self.end - self.start > _MAX_LENGTH:
            raise ValueError(
                f"period {self.start} .. {self.end} is {(self.end - self.start).days + 1} days; at most {_MAX_LENGTH.days + 1} "
                "make one, and 'end: null' goes on with the newest complete day"
            )
        return self
