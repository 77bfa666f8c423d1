"""A group of knobs: frozen, refusing unknown names, hashed."""

import hashlib
import json
from datetime import date
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """A frozen group of knobs that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    not_hashed: ClassVar[frozenset[str]] = frozenset()
    """Knobs that say where, not what: another folder or address with the same candles is the same experiment."""

    def hashed_knobs(self) -> dict[str, Any]:
        """Knob -> value, by name: of those that say what, the ones that a section takes beyond its own among them."""
        knobs = {name: getattr(self, name) for name in type(self).model_fields.keys() - self.not_hashed}
        return dict(sorted((knobs | (self.__pydantic_extra__ or {})).items()))

    def content_hash(self) -> str:
        """Sixteen hex digits that change exactly when a knob of this section does."""
        canonical = json.dumps(_hashed(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _hashed(value: Any) -> Any:
    if isinstance(value, Section):
        return {name: _hashed(knob) for name, knob in value.hashed_knobs().items()}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_hashed(item) for item in value]
    if isinstance(value, dict):
        return {name: _hashed(item) for name, item in value.items()}
    return value.isoformat() if isinstance(value, date) else value
