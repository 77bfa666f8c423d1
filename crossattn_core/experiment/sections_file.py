"""An experiment file as it is read: YAML, each name once, every fault with its line."""

from pathlib import Path
from typing import Any

import yaml

from crossattn_core.errors import ExperimentError

__all__ = ["read_sections"]


def read_sections(path: Path) -> dict[str, Any]:
    """The sections of an experiment file; none of an empty one.

    Raises:
        ExperimentError: there is no such file, it cannot be read, is not YAML in UTF-8, names something twice, holds a date that
            does not exist, or is no mapping of named sections.
    """
    try:
        if not path.is_file():
            raise ExperimentError(f"{path}: no such experiment file; see experiments/ for examples")
        read = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read ({error.strerror}); give this user the right to read it") from error
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path}: not text in UTF-8 (byte {error.start}); an experiment file is YAML") from error
    except _RefusedError as error:
        raise ExperimentError(f"{path}: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ExperimentError(f"{path}: not YAML: {error}") from error
    if read is None:
        return {}
    if not isinstance(read, dict):
        raise ExperimentError(f"{path}: holds a {type(read).__name__}; an experiment file is a mapping of sections")
    if strange := [name for name in read if not isinstance(name, str)]:
        raise ExperimentError(f"{path}: {strange[0]!r} is no name of a section; an experiment file is a mapping of sections")
    return read


class _RefusedError(yaml.MarkedYAMLError):
    """YAML, and no experiment."""


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses what YAML lets through: the last of two equal names, a value that is none of its kind."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.tag == "tag:yaml.org,2002:merge":
                continue
            if name.value in seen:
                raise _RefusedError(
                    problem=f"{name.value!r} is there twice, first in line {seen[name.value]}; keep one",
                    problem_mark=name.start_mark,
                )
            seen[name.value] = name.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = _KINDS.get(node.tag, "") if isinstance(node, yaml.ScalarNode) else ""
        if kind and ":" in node.value:
            why = "a day has neither time nor zone" if kind == "date" else "with colons it is read in base 60"
            raise _RefusedError(problem=f"{node.value!r} is no {kind} here: {why}", problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError) as error:
            if not kind:
                raise
            shown = node.value if len(node.value) <= _MAX_SHOWN else f"{node.value[:_MAX_SHOWN]}..."
            raise _RefusedError(problem=f"{shown} is no {kind} ({error})", problem_mark=node.start_mark) from error


_MAX_SHOWN = 40
"""Characters of a refused value in a message."""

_KINDS = {
    "tag:yaml.org,2002:bool": "truth value",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:int": "whole number",
    "tag:yaml.org,2002:timestamp": "date",
}
"""What YAML reads out of a scalar -> how a message calls it."""
