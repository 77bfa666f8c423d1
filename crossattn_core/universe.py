"""The assets that are traded together, and what their venues fix.

An asset is identified by (venue, category, symbol). A venue fixes the calendar, the publication
lag and the costs; a sector and a market place the asset in the hierarchy that attention may use.
"""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["VENUES", "Asset", "VenueName", "VenueRules"]

VenueName = Literal["bybit", "yahoo"]

_SYMBOL = re.compile(r"^[A-Z0-9^][A-Z0-9.^=-]{0,24}$")


class VenueRules(BaseModel):
    """What a venue fixes for every asset on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calendar: str = Field(description="exchange_calendars name; '24/7' for venues that never close")
    categories: tuple[str, ...] = Field(description="instrument classes that the venue offers")
    default_category: str


VENUES: dict[VenueName, VenueRules] = {
    "bybit": VenueRules(
        calendar="24/7",
        categories=("linear", "inverse", "spot"),
        default_category="linear",
    ),
    "yahoo": VenueRules(calendar="XNYS", categories=("equity",), default_category="equity"),
}


class Asset(BaseModel):
    """One tradable instrument."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    venue: VenueName
    symbol: str
    category: str = Field(default="", description="instrument class; the venue's default where empty")
    sector: str = Field(default="", description="the group that hierarchical attention and sector caps use")
    market: str = Field(default="", description="the top level of the hierarchy; 'crypto' or 'stocks' where empty")

    @field_validator("symbol")
    @classmethod
    def _symbol_is_plain(cls, symbol: str) -> str:
        # A symbol becomes a folder name and part of a URL: letters, digits and . ^ = - only.
        if not _SYMBOL.match(symbol):
            raise ValueError(f"{symbol!r} is not a symbol: upper-case letters, digits and . ^ = - only, at most 25 characters")
        return symbol

    @model_validator(mode="after")
    def _fill_from_venue(self) -> "Asset":
        rules = VENUES[self.venue]
        if not self.category:
            object.__setattr__(self, "category", rules.default_category)
        if self.category not in rules.categories:
            raise ValueError(
                f"{self.symbol}: {self.venue} has no category {self.category!r}; choose from {', '.join(rules.categories)}"
            )
        if not self.market:
            object.__setattr__(self, "market", "crypto" if self.venue == "bybit" else "stocks")
        if not self.sector:
            object.__setattr__(self, "sector", self.market)
        return self

    @property
    def asset_id(self) -> str:
        """The key used in every table, for instance ``bybit:linear:BTCUSDT``."""
        return f"{self.venue}:{self.category}:{self.symbol}"

    @property
    def calendar(self) -> str:
        """The exchange_calendars name that this asset follows."""
        return VENUES[self.venue].calendar

    @property
    def pays_funding(self) -> bool:
        """Whether holders exchange funding payments (perpetual futures do, spot and shares do not)."""
        return self.venue == "bybit" and self.category in ("linear", "inverse")

    @property
    def pays_dividends(self) -> bool:
        """Whether holders may be paid dividends (shares and funds are, coins and their derivatives are not)."""
        return self.venue == "yahoo"
