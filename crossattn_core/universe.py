"""The assets that are traded together, and what their venues fix.

An asset is identified by (venue, category, symbol). A venue fixes the calendar, the publication lag and the series that there
are to fetch; a sector and a market place the asset in the hierarchy that attention may use.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from crossattn_core.registry import Registry, RegistryAt, name_in
from crossattn_core.trading_calendar import ALWAYS_OPEN, calendar_names

if TYPE_CHECKING:
    from crossattn_core.experiment import VenueCosts

__all__ = ["VENUES", "Asset", "Kind", "Venue", "VenueName", "asset_names", "assets_by_name"]

VenueName = Annotated[str, name_in(RegistryAt(__name__, "VENUES"))]
"""A name in ``VENUES``; a field of this type refuses others."""

Kind = str
"""A series of an asset: 'candles', 'funding' or 'dividends'."""

_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=&-]{0,24}")
ASSET_ID_PATTERN = rf"^[^:]+:[^:]+:{_SYMBOL.pattern}$"
"""What every ``Asset.asset_id`` matches: a registered venue, a class of its, a symbol."""


@dataclass(frozen=True)
class Venue:
    """What a venue fixes for every asset on it. One file a venue, found by being in ``candles/feeds/``."""

    calendar: Callable[["Asset"], str]
    """Asset -> exchange_calendars name; '24/7' for one that is always traded. Raises ValueError where it cannot be told."""
    categories: Mapping[str, tuple[Kind, ...]]
    """Instrument class -> the series that its assets have; the first class is the default."""
    market: str
    """Top of the hierarchy for assets that name none: 'crypto', 'stocks'."""
    open_api: Callable[..., Any]
    """How it is asked. ``(settings, clock, backoff, grid) -> Feed``: the live feed, its candles one bar of the grid long; opens
    without a request.

    Raises ``ExperimentError`` where the venue has no candles of that length, or no live feed."""
    costs: "VenueCosts"
    """What trading there costs where ``costs.<venue>`` of the experiment does not say."""
    url: str = ""
    """Where its API lies, where ``feed.urls`` does not say; empty where a library knows it."""
    requests_per_second: float = 10.0
    """What its API takes from one address; ``feed.requests_per_second`` may ask for less."""
    reach_days: Mapping[str, int] = field(default_factory=dict)
    """Length of candles -> how many days back its API gives them; of those that are not there, back to the listing."""
    units: str = "volume in base units"
    """What the source's volume and prices count, for people."""
    category_of: Callable[[str], str] | None = None
    """Symbol -> instrument class of an asset that names none; none: the first one."""
    markets: Mapping[str, str] = field(default_factory=dict)
    """Instrument class -> top of the hierarchy, where it is not ``market``."""
    since: date = date(1990, 1, 1)
    """Before this day the venue gave no price: an earlier instant is a mistake."""
    publication_lag_seconds: int = 0
    """A candle is known this long after it closed, where ``feed.publication_lag_seconds`` does not name the venue."""

    @property
    def default_category(self) -> str:
        """The instrument class of an asset that names none."""
        return next(iter(self.categories))


VENUES = Registry[Venue]("venue", "crossattn_core.candles.feeds")
"""Venue name -> what it fixes."""


class Asset(BaseModel):
    """One tradable instrument."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    venue: VenueName
    """Where it trades: its calendar, costs and feed are the venue's."""
    symbol: str
    """As the venue writes it."""
    category: str = ""
    """Instrument class; the venue's default where empty."""
    sector: str = ""
    """The group that hierarchical attention and sector caps use."""
    market: str = ""
    """The top level of the hierarchy; the venue's where empty: 'crypto' or 'stocks'."""
    calendar: str = ""
    """The exchange_calendars name that the asset follows, or '24/7'; where empty, what the venue says of the symbol."""

    @field_validator("symbol")
    @classmethod
    def _symbol_is_plain(cls, symbol: str) -> str:
        # A symbol becomes the name of a folder and of files, and part of a URL.
        if not _SYMBOL.fullmatch(symbol):
            raise ValueError(f"{symbol[:40]!r} is not a symbol: upper-case letters, digits and . ^ = & - only, 25 at most")
        return symbol

    @model_validator(mode="after")
    def _fill_from_venue(self) -> "Asset":
        venue = VENUES.get(self.venue)
        if not self.category:
            named = venue.default_category if venue.category_of is None else venue.category_of(self.symbol)
            object.__setattr__(self, "category", named)
        if self.category not in venue.categories:
            raise ValueError(
                f"{self.symbol}: {self.venue} has no category {self.category!r}; choose from {', '.join(venue.categories)}"
            )
        if not self.market:
            object.__setattr__(self, "market", venue.markets.get(self.category, venue.market))
        if not self.sector:
            object.__setattr__(self, "sector", self.market)
        if not self.calendar:
            object.__setattr__(self, "calendar", venue.calendar(self))
        elif self.calendar != ALWAYS_OPEN and self.calendar not in calendar_names():
            raise ValueError(
                f"{self.symbol}: no exchange calendar is called {self.calendar!r}; "
                f"use 24/7 or one of {', '.join(calendar_names())}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_the_venues_own_calendar(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written = handler(self)
        try:
            own = VENUES.get(self.venue).calendar(self)
        except ValueError:
            own = ""
        if written.get("calendar") == own:
            del written["calendar"]
        return written

    @property
    def asset_id(self) -> str:
        """The key used in every table, for instance ``bybit:linear:BTCUSDT``."""
        return f"{self.venue}:{self.category}:{self.symbol}"

    @property
    def series(self) -> tuple[Kind, ...]:
        """What is kept of the asset: candles, and the payments that its holders make or get."""
        return VENUES.get(self.venue).categories[self.category]

    @property
    def pays_funding(self) -> bool:
        """Whether holders exchange funding payments (perpetual futures do, spot and shares do not)."""
        return "funding" in self.series

    @property
    def pays_dividends(self) -> bool:
        """Whether holders may be paid dividends (shares and funds are, coins and their derivatives are not)."""
        return "dividends" in self.series


def asset_names(assets: Sequence[Asset]) -> tuple[str, ...]:
    """What each asset is called where a symbol is enough; the key where others share the symbol.

    >>> perp, spot = Asset(venue="bybit", symbol="BTCUSDT"), Asset(venue="bybit", symbol="BTCUSDT", category="spot")
    >>> asset_names((perp, spot, Asset(venue="yahoo", symbol="SPY")))
    ('bybit:linear:BTCUSDT', 'bybit:spot:BTCUSDT', 'SPY')
    """
    count = Counter(asset.symbol for asset in assets)
    return tuple(asset.symbol if count[asset.symbol] == 1 else asset.asset_id for asset in assets)


def assets_by_name(assets: Sequence[Asset]) -> dict[str, Asset]:
    """Assets by key, and by symbol where no other shares it: the ways in which a user may name one."""
    return {asset.asset_id: asset for asset in assets} | dict(zip(asset_names(assets), assets, strict=True))
