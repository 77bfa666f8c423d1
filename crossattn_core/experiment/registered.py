"""Knobs that name something registered: an unknown name is refused with the nearest known one. Defaults are not checked.

What is registered reads sections of the experiment: a registry is imported when it is asked for more than names, not before.
"""

from typing import Annotated

from pydantic import Field

from crossattn_core.registry import RegistryAt, name_in

__all__ = ["AttentionName", "DetectorName", "EncoderName", "FamilyName", "FeedName", "StrategyName", "baselines", "families"]


def _in(module: str, attribute: str) -> RegistryAt:
    return RegistryAt(f"crossattn_core.{module}", attribute)


families = _in("families.registry", "FAMILIES")
"""The registry of model families."""
baselines = _in("portfolio.strategies.registry", "BASELINES")
"""The registry of baseline strategies."""
_UNCHECKED = Field(validate_default=False)

AttentionName = Annotated[str, name_in(_in("model.attention.base", "ATTENTION")), _UNCHECKED]
EncoderName = Annotated[str, name_in(_in("model.encoders.base", "ENCODERS")), _UNCHECKED]
DetectorName = Annotated[str, name_in(_in("regimes.detectors.registry", "DETECTORS")), _UNCHECKED]
FamilyName = Annotated[str, name_in(families)]
FeedName = Annotated[str, name_in(_in("candles.feeds.registry", "FEEDS")), _UNCHECKED]
StrategyName = Annotated[str, name_in(baselines, families)]
"""A baseline, or a family: what can be followed."""
