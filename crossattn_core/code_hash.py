"""Which code a stage runs, as hashes: the syntax tree of every module that its function can reach by import.

Docstrings, comments and layout are no code. A function of a stage module (``model_stages.walk_forward``) is followed name by
name, and so are the members of ``Line`` that it uses: two stages in one file do not share what only one of them uses. Behind it
whole modules count. A module that holds a ``Registry`` reaches every module of the registry's package; packages from outside that
register something count for every stage.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path

from crossattn_core.registry import PLUGIN_GROUP
from crossattn_core.syntax_tree import (
    bound_names,
    called_name,
    imports_of,
    is_docstring,
    package_named,
    tree_hash,
    used_names,
)

__all__ = ["EDGES", "NUMERIC_PACKAGES", "STAGE_MODULES", "CodeIndex", "code_index", "is_edge", "plugin_parts"]

PACKAGE = "crossattn_core"

STAGE_MODULES = ("data_stages", "line", "model_stages")
"""Modules that serve many stages: followed by function, not as a whole."""

EDGES = {
    "": "the version's number",
    "analysis.snapshot_checks": "checks what is stored and stores nothing",
    "backup": "copies a home, whose files it does not look into",
    "backtest.reference": "the simulator as a loop that can be read: tests hold the two together, stages run the fast one",
    "code_hash": "defines what code is; its own way of hashing shows in every hash that it makes",
    "compute": "where a function runs and not what it gives",
    "day_review": "looks at a home and stores nothing",
    "errors": "messages",
    "experiment": "knobs enter by their values, stage by stage",
    "home": "where things lie, not what they are",
    "inspections": "looks at a home and stores nothing",
    "progress": "progress bars",
    "receipts": "stores receipts as they come",
    "registry": "finds what is registered; what is found counts",
    "sql_stages": "rows of the table of stages, and who fills a table: compared as inputs",
    "stage": "what a row of the table of stages is",
    "stages": "the table itself: knobs, inputs and code of a stage are compared one by one",
    "retention": "deletes what can be made again and makes nothing",
    "staleness": "compares",
    "storage": "how bytes reach the disk, not which",
    "syntax_tree": "defines what code is, as code_hash does",
    "candles.importing": "writes a folder of candle files, which enter as those of any other",
    "candles.ingest.absent": "refuses a fetch before it begins; what is fetched is judged by modules that count",
    "candles.simulated_folder": "writes a folder of candle files, which enter as those of any other",
    "candles.lake.coverage": "counts holes for 'crossattn candles status'",
    "candles.lake.rescales": "an explicit act on stored candles, which enters as an input; reads that apply it count",
    "candles.lake.revisions": "two explicit acts on stored candles, which enter as inputs",
    "model.plain": "models for notebooks: no stage runs them",
    "report.figures.stages": "pictures in the web UI, drawn from what is stored",
    "report.explain": "shows where a number came from and makes none",
    "tuning": "searches settings before the first test day; what it finds enters as knobs, its trials as an input",
    "walk_forward.ahead": "has fits made before they are asked for; the request decides, and a miss is fitted as ever",
    "walk_forward.overrides": "records what a person orders; the record enters as an input",
    "warehouse.column_graph": "shows what a column is made from",
    "warehouse.docs": "shows the SQL models and a column's lineage",
    "walk_forward.lookahead_checks": "checks results and makes none",
    "warehouse.lineage_page": "draws what a column is made from",
    "warehouse.stored": "describes what stages store; tests hold it to the files",
    "warehouse.traced": "words for a column's way upstream",
    "warehouse.examples": "runs the examples beside the SQL models, which are tests",
}
"""Modules (or packages) that are in no stage's hash, each with the reason; what only they import is reached through others."""

NUMERIC_PACKAGES = (
    "arch",
    "duckdb",
    "exchange_calendars",
    "lightgbm",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "statsmodels",
    "torch",
)
"""Packages whose version can change a number or a picture; those that a stage imports are part of its code."""


@dataclass(frozen=True)
class _Reach:
    """What a piece of code uses: modules of the package, and packages from outside."""

    modules: frozenset[str]
    packages: frozenset[str]


class CodeIndex:
    """The modules of the package, parsed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trees: dict[str, ast.Module] = {}
        self._hashes: dict[str, str] = {}
        self._renders: dict[str, bool] = {}
        self._reaches: dict[str, _Reach] = {}
        self._functions: dict[str, dict[str, str]] = {}

    def with_sources(self, sources: Mapping[str, str]) -> "CodeIndex":
        """The index of a package in which some modules (dotted name -> text) read otherwise."""
        other = CodeIndex(self.root)
        other._trees = self._trees | {module: ast.parse(text) for module, text in sources.items()}
        other._hashes = {module: value for module, value in self._hashes.items() if module not in sources}
        other._renders = {module: value for module, value in self._renders.items() if module not in sources}
        other._reaches = {module: reach for module, reach in self._reaches.items() if module not in sources}
        return other

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Dotted name below the package -> file."""
        found = {}
        for path in sorted(self.root.rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    def tree(self, module: str) -> ast.Module:
        """The syntax tree of a module."""
        if module not in self._trees:
            self._trees[module] = ast.parse(self.modules[module].read_text(encoding="utf-8"))
        return self._trees[module]

    def parts_of(self, function: str) -> dict[str, str]:
        """What ``function`` (``module.name`` of a stage module) runs: file -> hash of its tree, package -> version."""
        if function not in self._functions:
            reach, parts = self._followed(function)
            self._functions[function] = parts | self._parts(*self._closure(reach))
        return self._functions[function]

    def parts_of_module(self, module: str) -> dict[str, str]:
        """As ``parts_of``, for a module (``crossattn_core.room.module``) as a whole."""
        start = _Reach(frozenset({module.removeprefix(f"{PACKAGE}.")}), frozenset())
        return self._parts(*self._closure(start))

    def reachable(self, function: str) -> frozenset[str]:
        """The modules that count for ``function``, its own left out."""
        return self._closure(self._followed(function)[0])[0]

    def _parts(self, modules: Iterable[str], packages: Iterable[str]) -> dict[str, str]:
        """File -> hash for modules and the templates that they render, package -> version."""
        parts = {self._file(name): self._hash(name) for name in modules}
        for name in modules:
            if self._renders_templates(name):
                for path in sorted((self.modules[name].parent / "templates").glob("*.j2")):
                    parts[path.relative_to(self.root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        return parts | {name: _version_of(name) for name in NUMERIC_PACKAGES if name in packages}

    def _renders_templates(self, module: str) -> bool:
        if module not in self._renders:
            nodes = ast.walk(self.tree(module))
            self._renders[module] = any(isinstance(node, ast.Constant) and node.value == "templates" for node in nodes)
        return self._renders[module]

    def _followed(self, function: str) -> tuple[_Reach, dict[str, str]]:
        """What a function of a stage module uses, through functions of stage modules; and the hash of each of these functions."""
        modules, packages, parts = set(), set(), {}
        frontier = [tuple(function.split(".", 1))]
        while frontier:
            module, name = frontier.pop()
            part = f"{self._file(module)}:{name}"
            if part in parts:
                continue
            defined, bound, constants = self._namespace(module)
            if name not in defined:
                raise KeyError(f"{module}.{name}: no such function")
            parts[part] = tree_hash([defined[name]])
            if constants:
                parts[f"{self._file(module)}:constants"] = tree_hash(constants)
            names, members = used_names([defined[name], *constants])
            methods = self._namespace("line")[0] if "line" in self.modules else {}
            followed = (f"Line.{member}" for member in members - _BOOKKEEPING)
            frontier += [("line", member) for member in followed if member in methods]
            for used in names:
                if used in defined:
                    frontier.append((module, used))
                elif used in bound:
                    target, attribute = bound[used]
                    inside = self._inside(target, attribute)
                    if inside is None:
                        packages.add(target.split(".")[0])
                    elif inside in STAGE_MODULES and attribute in self._namespace(inside)[0]:
                        frontier.append((inside, attribute))
                    else:
                        modules.add(inside)
        return _Reach(frozenset(modules), frozenset(packages)), parts

    def _namespace(self, module: str) -> tuple[dict[str, ast.AST], dict[str, tuple[str, str]], list[ast.stmt]]:
        """Functions, classes and methods by name; what imports bind; the statements beside them."""
        body = self.tree(module).body
        defined: dict[str, ast.AST] = {}
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined[node.name] = node
            if isinstance(node, ast.ClassDef):
                defined |= {f"{node.name}.{method.name}": method for method in node.body if isinstance(method, ast.FunctionDef)}
        constants = [node for node in body if not isinstance(node, _NO_CONSTANT) and not is_docstring(node)]
        return defined, bound_names(body), constants

    def _closure(self, start: _Reach) -> tuple[frozenset[str], frozenset[str]]:
        modules, packages = set(), set(start.packages)
        frontier = list(start.modules)
        while frontier:
            module = frontier.pop()
            if module in modules or is_edge(module) or module in STAGE_MODULES:
                continue
            modules.add(module)
            reach = self._reach(module)
            frontier += reach.modules
            packages |= reach.packages
        return frozenset(modules), frozenset(packages)

    def _reach(self, module: str) -> _Reach:
        if module not in self._reaches:
            modules, packages = set(), set()
            for node in ast.walk(self.tree(module)):
                for target, attribute in imports_of(node):
                    inside = self._inside(target, attribute)
                    if inside is None:
                        packages.add(target.split(".")[0])
                    else:
                        modules.add(inside)
                if isinstance(node, ast.Call) and called_name(node) == "Registry":
                    package = package_named(node).removeprefix(PACKAGE).removeprefix(".")
                    modules |= {name for name in self.modules if name.rpartition(".")[0] == package}
            parents = {module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)}
            self._reaches[module] = _Reach(frozenset(modules | parents), frozenset(packages))
        return self._reaches[module]

    def _inside(self, target: str, attribute: str) -> str | None:
        """The module of the package that an import names; none for another package."""
        if target != PACKAGE and not target.startswith(PACKAGE + "."):
            return None
        below = target.removeprefix(PACKAGE).removeprefix(".")
        longer = f"{below}.{attribute}".removeprefix(".") if attribute else below
        return longer if longer in self.modules else below

    def _hash(self, module: str) -> str:
        if module not in self._hashes:
            self._hashes[module] = tree_hash([self.tree(module)])
        return self._hashes[module]

    def _file(self, module: str) -> str:
        return self.modules[module].relative_to(self.root).as_posix()


def code_index() -> CodeIndex:
    """The index of the installed package, parsed once a process: a running process runs the code that it loaded."""
    global _INDEX
    if _INDEX is None:
        _INDEX = CodeIndex(Path(__file__).parent)
    return _INDEX


def plugin_parts() -> dict[str, str]:
    """Package from outside that registers something (``PLUGIN_GROUP``) -> hash of the syntax trees of all its modules."""
    parts = {}
    for name in sorted({entry.module.split(".")[0] for entry in entry_points(group=PLUGIN_GROUP)}):
        spec = find_spec(name)
        folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
        files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
        files = files or ([Path(spec.origin)] if spec is not None and spec.origin is not None else [])
        parts[f"{name}.py"] = tree_hash([ast.parse(path.read_text(encoding="utf-8")) for path in files])
    return parts


def is_edge(module: str) -> bool:
    """Whether a module is in no stage's hash (``EDGES``), or lies in such a package."""
    return any(module == edge or module.startswith(edge + ".") for edge in EDGES)


_INDEX: CodeIndex | None = None

_BOOKKEEPING = frozenset(
    {"codes_of", "knobs_hash_of", "last_day", "made_from", "receipts", "record", "record_whole", "staleness", "stages"}
)
"""Members of ``Line`` that keep receipts and decide nothing that is stored."""

_NO_CONSTANT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
