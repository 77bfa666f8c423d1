"""What a syntax tree says: its hash without prose and layout, what it imports, and which names it uses."""

import ast
import hashlib
from collections.abc import Iterable

__all__ = ["bound_names", "called_name", "imports_of", "is_docstring", "package_named", "tree_hash", "used_names"]


def tree_hash(nodes: Iterable[ast.AST]) -> str:
    """Sixteen hex digits over syntax trees without docstrings; equal for sources that differ in comments and layout."""
    digest = hashlib.sha256()
    for node in nodes:
        _feed(digest, node)
    return digest.hexdigest()[:16]


def _feed(digest: "hashlib._Hash", node: object) -> None:
    """Type and fields of a node, depth first; the same on every Python version for the same meaning."""
    if isinstance(node, ast.AST):
        digest.update(f"({type(node).__name__}".encode())
        for name, value in ast.iter_fields(node):
            if name in ("ctx", "kind", "type_comment", "type_ignores") or value is None or value == []:
                continue
            if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                value = [statement for statement in value if not is_docstring(statement)]
            digest.update(f" {name}".encode())
            _feed(digest, value)
        digest.update(b")")
    elif isinstance(node, list):
        for item in node:
            _feed(digest, item)
    else:
        digest.update(f" {type(node).__name__} {node!r}".encode())


def is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a text alone, as one below a class, a function or a knob."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def imports_of(node: ast.AST) -> list[tuple[str, str]]:
    """(module, name) pairs that an import statement names; the name is empty for ``import module``."""
    if isinstance(node, ast.Import):
        return [(alias.name, "") for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [(node.module, alias.name) for alias in node.names]
    return []


def bound_names(body: list[ast.stmt]) -> dict[str, tuple[str, str]]:
    """Name in a module's namespace -> what import bound it to."""
    bound = {}
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias, pair in zip(node.names, imports_of(node), strict=True):
                bound[alias.asname or alias.name.split(".")[0]] = pair
    return bound


def used_names(nodes: Iterable[ast.AST]) -> tuple[set[str], set[str]]:
    """Every name that is read, and every member of ``line`` or ``self`` in ``Line``; annotations say nothing about what runs."""
    names: set[str] = set()
    members: set[str] = set()
    frontier = list(nodes)
    while frontier:
        node = frontier.pop()
        if isinstance(node, ast.Name):
            names.add(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("line", "self"):
            members.add(node.attr)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            children = value if isinstance(value, list) else [value]
            frontier += [child for child in children if isinstance(child, ast.AST)]
    return names, members


def called_name(node: ast.Call) -> str:
    """The plain name that is called, also behind brackets (``Registry[Family](...)``); '' for a call of something else."""
    called = node.func.value if isinstance(node.func, ast.Subscript) else node.func
    return called.id if isinstance(called, ast.Name) else ""


def package_named(registry: ast.Call) -> str:
    """The package whose modules a ``Registry(kind, package)`` finds.

    Raises:
        ValueError: the package is not written out, so what the registry reaches is unknown.
    """
    named = registry.args[1] if len(registry.args) > 1 else None
    if isinstance(named, ast.Constant) and isinstance(named.value, str):
        return named.value
    raise ValueError(f"line {registry.lineno}: a registry names its package as a plain string")
