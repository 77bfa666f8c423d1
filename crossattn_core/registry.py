"""Registries: what can be added by name, one file each, inside a package or from outside.

    ATTENTION = Registry[type[CrossAttention]]("attention variant", __package__)      # in the package's registry module

    @ATTENTION.register("lag_bias")                                                   # in a file of that package
    class LagBiasAttention(CrossAttention): ...

The modules of the registry's package are imported when an item is first looked up, so a new file is found by being there. Its
name is written out as a plain string: an experiment that names it is read without importing it (``RegistryAt``). A package from
outside registers the same way and names its module under the entry-point group ``crossattn.plugins``.
"""

import ast
import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import AfterValidator

from crossattn_core.errors import ExperimentError

__all__ = ["PLUGIN_GROUP", "NameIn", "Registry", "RegistryAt", "known_name", "name_in"]

PLUGIN_GROUP = "crossattn.plugins"
"""Entry points whose modules are imported before a name is looked up."""

Item = TypeVar("Item")
Registered = TypeVar("Registered")


class Registry(Generic[Item]):
    """Name -> item, for one kind of thing."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._items: dict[str, Item] = {}
        self._is_discovered = False

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Decorator that puts a class or a function under ``name``.

        Raises:
            ExperimentError: another item has that name.
        """

        def add(item: Registered) -> Registered:
            self.add(name, item)  # pyright: ignore[reportArgumentType]  # a decorator keeps the narrower type of what it is given
            return item

        return add

    def add(self, name: str, item: Item) -> Item:
        """Put ``item`` under ``name``; errors as ``register``."""
        held = self._items.get(name)
        if held is not None and held is not item:
            raise ExperimentError(f"two items are called {name!r} among the {self.kind}s: {held!r} and {item!r}; rename one")
        self._items[name] = item
        return item

    def names(self) -> tuple[str, ...]:
        """Every registered name, sorted."""
        self._discover()
        return tuple(sorted(self._items))

    def get(self, name: str) -> Item:
        """The item called ``name``.

        Raises:
            ExperimentError: there is none; the nearest known name is offered.
        """
        return self._items[known_name(name, self)]

    def items(self) -> Iterator[tuple[str, Item]]:
        """Name and item, by name."""
        for name in self.names():
            yield name, self._items[name]

    @contextmanager
    def temporarily(self, name: str, item: Item) -> Iterator[Item]:
        """``item`` under ``name`` for the length of a block: what tests add, they take away."""
        self.add(name, item)
        try:
            yield item
        finally:
            del self._items[name]

    def _discover(self) -> None:
        if self._is_discovered:
            return
        for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        _import_plugins()
        self._is_discovered = True


def known_name(name: str, *registries: Registry[Any]) -> str:
    """``name``, if one of ``registries`` has it.

    Raises:
        ExperimentError: none has; the nearest known name is offered.
    """
    known = [item for registry in registries for item in registry.names()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        kinds = " or ".join(registry.kind for registry in registries)
        raise ExperimentError(f"no {kinds} is called {name!r}; {hint}Known: {', '.join(known)}")
    return name


class RegistryAt:
    """A registry by its place, for who only asks for names: those that a file of its package writes out are read, not imported.

    What is registered reads the experiment and may need PyTorch; an experiment that names it needs neither to be read.
    """

    def __init__(self, module: str, attribute: str) -> None:
        self._module, self._attribute = module, attribute

    def __call__(self) -> Registry[Any]:
        """The registry itself."""
        return getattr(importlib.import_module(self._module), self._attribute)

    def __contains__(self, name: object) -> bool:
        return self.writes(name) or name in self().names()

    def writes(self, name: object) -> bool:
        """Whether a file of the package registers ``name`` as a plain string."""
        return name in self._written()

    def names(self) -> tuple[str, ...]:
        """Every registered name, sorted; packages from outside tell theirs once they are imported."""
        written = () if entry_points(group=PLUGIN_GROUP) else tuple(sorted(self._written()))
        return written or self().names()

    def _written(self) -> frozenset[str]:
        return _written_names(self._module.rpartition(".")[0], self._attribute)


class NameIn:
    """Checks that a name is registered."""

    def __init__(self, *registries: RegistryAt) -> None:
        self._registries = registries

    def names(self) -> tuple[str, ...]:
        """Every name that passes."""
        return tuple(dict.fromkeys(name for registry in self._registries for name in registry().names()))

    def __call__(self, name: str) -> str:
        """The name; ValueError where nothing is registered under it."""
        if any(registry.writes(name) for registry in self._registries):
            return name
        try:
            return known_name(name, *(registry() for registry in self._registries))
        except ExperimentError as error:
            raise ValueError(str(error)) from error


def name_in(*registries: RegistryAt) -> AfterValidator:
    """``Annotated[str, name_in(RegistryAt("package.module", "REGISTRY"))]``: a pydantic field that takes registered names.

    Each registry is looked up when a name is first checked: what is registered may read the model that has the field.
    """
    return AfterValidator(NameIn(*registries))


@cache
def _written_names(package: str, attribute: str) -> frozenset[str]:
    """The names that files of a package register as plain strings with its registry called ``attribute``."""
    top, *below = package.split(".")
    spec = find_spec(top)  # of the top package alone: finding one below it would import what lies between
    names: set[str] = set()
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in Path(folder).joinpath(*below).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            if f"{attribute}." in text:
                names |= {name for node in ast.walk(ast.parse(text)) if (name := _registered_by(node, attribute))}
    return frozenset(names)


def _registered_by(node: ast.AST, attribute: str) -> str:
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute)):
        return ""
    registry, method, named = node.func.value, node.func.attr, node.args[0]
    is_of_it = isinstance(registry, ast.Name) and registry.id == attribute and method in ("add", "register")
    return str(named.value) if is_of_it and isinstance(named, ast.Constant) else ""


@cache
def _import_plugins() -> None:
    for entry in entry_points(group=PLUGIN_GROUP):
        entry.load()
