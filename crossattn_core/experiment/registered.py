"""Names that belong to a registry, checked where an experiment gives them.

What is registered reads sections of the experiment, so a registry is imported when a name is first checked, not before; it
is named as an entry point is, ``module:ATTRIBUTE``. Defaults are not checked.
"""

from importlib import import_module
from typing import Any

from crossattn_core.errors import ExperimentError
from crossattn_core.registry import Registry

__all__ = ["ATTENTION", "BASELINES", "DETECTORS", "ENCODERS", "FAMILIES", "check_registered", "registered_names"]

ATTENTION = "crossattn_core.model.attention.base:ATTENTION"
BASELINES = "crossattn_core.portfolio.strategies.registry:BASELINES"
DETECTORS = "crossattn_core.regimes.detectors.registry:DETECTORS"
ENCODERS = "crossattn_core.model.encoders.base:ENCODERS"
FAMILIES = "crossattn_core.families.registry:FAMILIES"


def check_registered(registry: str, name: str) -> str:
    """``name``, if ``registry`` has it.

    Raises:
        ValueError: it has not; the nearest known name is offered.
    """
    try:
        _registry(registry).get(name)
    except ExperimentError as error:
        raise ValueError(str(error)) from error
    return name


def registered_names(registry: str) -> tuple[str, ...]:
    """Every name in ``registry``, sorted."""
    return _registry(registry).names()


def _registry(path: str) -> Registry[Any]:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
