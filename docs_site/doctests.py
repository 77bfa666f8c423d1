"""An extension of griffe, which reads the docstrings: lines of a doctest are code on the page, as they are in the source."""

import re
from typing import Any

from griffe import Extension, Object

__all__ = ["Doctests"]

_DOCTEST = re.compile(r"(?:^>>> .*\n?(?:^(?!>>> ).+\n?)*)+", re.MULTILINE)


class Doctests(Extension):
    """Puts every doctest between fences."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = _DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value)
