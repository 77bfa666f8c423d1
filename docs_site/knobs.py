"""Every knob of an experiment as a page: section, name, type, default, bounds, meaning; from the models themselves."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from crossattn_core.experiment import Experiment, VenueCosts
from crossattn_core.experiment.bar_defaults import BAR_DEFAULTS
from crossattn_core.registry import NameIn

__all__ = ["bounds_of", "knobs_page", "meaning_of", "sections", "type_of"]

_HEAD = """# Knobs

What an experiment can set, made from `crossattn_core/experiment/` when the site is built. A file names only what differs from
the defaults; an unknown name, or a value out of bounds, is refused with what is allowed. Defaults are those of hourly bars:
other bars change [these](#defaults-that-follow-the-bar). `experiments/{name}`, for instance:

```yaml
{text}```
"""
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", date: "day", NoneType: "none"}
_BOUNDS = (
    (annotated_types.Ge, "ge", "≥"),
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Le, "le", "≤"),
    (annotated_types.Lt, "lt", "<"),
)
_LONG = 60
"""A default longer than so many characters is shown below its table."""


def knobs_page(example: Path) -> str:
    """The page as Markdown; ``example`` is an experiment file to show."""
    shown = {model: _section(name, model) for name, model in reversed(list(sections()))}
    parts = [shown.pop(model) for _, model in sections() if model in shown]
    return "\n".join([_HEAD.format(name=example.name, text=example.read_text("utf-8")), *parts, _bar_defaults()])


def sections(model: type[BaseModel] = Experiment, name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """(dotted name, model) of the experiment, whose name is empty, and of what lies below it, in the order of its fields."""
    yield name, model
    for field, info in model.model_fields.items():
        for inner in _models_in(info.annotation):
            yield from sections(inner, f"{name}.{field}".lstrip("."))
    if model.model_config.get("extra") == "allow":
        yield f"{name}.<venue>", VenueCosts


def type_of(annotation: Any, metadata: list[Any]) -> str:
    """A field's type in words: choices as they are written, registered names by name."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if names := next((check.func.names() for check in metadata if _is_name(check)), ()):
        return _choice(names)
    if origin is Annotated:
        return type_of(inner[0], list(inner[1:]))
    if origin is Literal:
        return _choice(inner)
    if origin in (Union, UnionType):
        return " or ".join(type_of(one, []) for one in inner)
    if origin is tuple:
        return f"list of {type_of(inner[0], [])}"
    if origin is dict:
        return f"{'name' if get_origin(inner[0]) is Annotated else type_of(inner[0], [])} -> {type_of(inner[1], [])}"
    return _PLAIN[annotation] if annotation in _PLAIN else f"[section](#{_anchor(annotation)})"


def bounds_of(metadata: list[Any]) -> str:
    """The bounds of a field, for instance ``≥ 1, < 10``; empty where it has none."""
    found = [f"{sign} {getattr(bound, name):g}" for bound in metadata for kind, name, sign in _BOUNDS if isinstance(bound, kind)]
    found += [f"at least {bound.min_length}" for bound in metadata if isinstance(bound, annotated_types.MinLen)]
    found += [f"`{bound.pattern}`" for bound in metadata if getattr(bound, "pattern", None)]
    return ", ".join(found)


def meaning_of(info: FieldInfo) -> str:
    """What the field says of itself; of a section, its first line."""
    text = info.description
    if text is None and _models_in(info.annotation):
        text = str(_models_in(info.annotation)[0].__doc__).splitlines()[0]
    return _plain(text or "")


def _section(name: str, model: type[BaseModel]) -> str:
    rows, below = [], []
    for field, info in model.model_fields.items():
        default = _default(info)
        if len(default) > _LONG:
            below.append(f"Default of `{field}`:\n\n```json\n{_default(info, indented=True)}\n```\n")
            default = "below"
        cells = (f"`{field}`", type_of(info.annotation, info.metadata), default, bounds_of(info.metadata), meaning_of(info))
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    text = "\n\n".join(map(_plain, str(model.__doc__).split("\n\n")))
    table = ["| knob | type | default | bounds | meaning |", "|---|---|---|---|---|", *rows, ""]
    return "\n".join([f"## `{name or 'experiment'}` {{#{_anchor(model)}}}\n", text, "", *table, *below])


def _default(info: FieldInfo, *, indented: bool = False) -> str:
    if info.default is PydanticUndefined and info.default_factory is None:
        return "required"
    if len(_models_in(info.annotation)) == 1 and isinstance(info.default, BaseModel):
        return ""
    value = to_jsonable_python(info.get_default(call_default_factory=True))
    if indented:
        return (
            "[\n" + ",\n".join(json.dumps(one) for one in value) + "\n]"
            if isinstance(value, list)
            else json.dumps(value, indent=1)
        )
    return f"`{json.dumps(value)}`" if value is not None else "none"


def _bar_defaults() -> str:
    rows = [
        f"| `{bar}` | `{section}.{knob}` | `{json.dumps(value)}` |"
        for bar, changed in BAR_DEFAULTS.items()
        for section, knobs in changed.items()
        for knob, value in knobs.items()
    ]
    head = "## Defaults that follow the bar\n\nWhat a file names is never touched; a knob that means a time keeps its value.\n"
    return "\n".join([head, "| `grid.bar` | knob | default |", "|---|---|---|", *rows, ""])


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _is_name(check: Any) -> bool:
    return isinstance(check, AfterValidator) and isinstance(check.func, NameIn)


def _choice(names: tuple[Any, ...]) -> str:
    return "one of " + ", ".join(f"`{name}`" for name in names) if len(names) > 1 else f"`{names[0]}`"


def _anchor(model: type[BaseModel]) -> str:
    return model.__name__.lower()


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
