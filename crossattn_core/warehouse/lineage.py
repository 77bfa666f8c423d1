"""Column lineage, read from the SQL: which upstream columns a column is made from.

Scopes are walked, never guessed through: a table function, ``COLUMNS(...)``, PIVOT, a lateral join or a recursive
query makes a column ``'unresolved'``.
"""

from collections.abc import Iterable, Mapping

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, build_scope

__all__ = ["UNRESOLVED", "Lineage", "column_lineage", "tables_read"]

UNRESOLVED = "unresolved"

Lineage = tuple[tuple[str, str], ...] | str
"""Sorted (table, column) pairs, or ``'unresolved'``."""


class _UnresolvedError(Exception):
    """A column's origin is not visible in the SQL alone."""


def tables_read(select: exp.Expr) -> list[exp.Table]:
    """The tables that ``select`` reads, without its own CTE names, in order of appearance."""
    root = build_scope(select)
    tables: list[exp.Table] = []
    for scope in root.traverse() if root is not None else ():
        for table in scope.tables:
            # A CTE name resolves to a scope; so does the recursive reference of a recursive CTE to itself.
            if not table.db and table.name in scope.cte_sources:
                continue
            if isinstance(table.this, exp.Identifier) and not any(table is seen for seen in tables):
                tables.append(table)
    return tables


def column_lineage(select: exp.Expr, columns: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> dict[str, Lineage]:
    """Where each of ``columns`` comes from.

    Args:
        select: the model's parsed query.
        columns: its output columns, as DuckDB names them.
        known: columns of every table that may be read, ``{'raw.candles': ('asset_id', ...)}``.
    """
    names = list(columns)
    root = build_scope(select)
    if root is None:
        return dict.fromkeys(names, UNRESOLVED)
    walk = _Walk(known)
    try:
        outputs = walk.outputs(root)
    except _UnresolvedError:
        return dict.fromkeys(names, UNRESOLVED)
    # DuckDB's own names decide: where the parse gives others, none of it is used.
    if [name.lower() for name in outputs] != [name.lower() for name in names]:
        return dict.fromkeys(names, UNRESOLVED)
    lineage: dict[str, Lineage] = {}
    for position, name in enumerate(names):
        try:
            lineage[name] = tuple(sorted(walk.origins(root, position)))
        except _UnresolvedError:
            lineage[name] = UNRESOLVED
    return lineage


class _Walk:
    """Resolves columns through scopes; remembers what it resolved."""

    def __init__(self, known: Mapping[str, tuple[str, ...]]) -> None:
        self._known = known
        self._outputs: dict[int, list[str]] = {}
        self._expanded: dict[int, list[tuple[str, exp.Expr | tuple[Scope | str, str]]]] = {}
        self._origins: dict[tuple[int, int], frozenset[tuple[str, str]]] = {}
        self._open: set[tuple[int, int]] = set()

    def outputs(self, scope: Scope) -> list[str]:
        """Output column names of a scope, stars expanded."""
        if id(scope) not in self._outputs:
            if scope.set_operation_scopes:
                names = self.outputs(scope.set_operation_scopes[0])
                if scope.expression.args.get("by_name"):
                    names = names + [name for name in self.outputs(scope.set_operation_scopes[1]) if name not in names]
                elif len(self.outputs(scope.set_operation_scopes[1])) != len(names):
                    raise _UnresolvedError
                self._outputs[id(scope)] = names
            else:
                self._outputs[id(scope)] = [name for name, _ in self._projections(scope)]
        return self._outputs[id(scope)]

    def origins(self, scope: Scope, position: int) -> frozenset[tuple[str, str]]:
        """Table columns behind output ``position`` of a scope."""
        key = (id(scope), position)
        if key in self._origins:
            return self._origins[key]
        if key in self._open:
            raise _UnresolvedError  # a recursive query
        self._open.add(key)
        if scope.set_operation_scopes:
            found = self._union_origins(scope, position)
        else:
            _, projected = self._projections(scope)[position]
            found = self._source_column(*projected) if isinstance(projected, tuple) else self._expression(scope, projected)
        self._open.discard(key)
        self._origins[key] = found
        return found

    def _union_origins(self, scope: Scope, position: int) -> frozenset[tuple[str, str]]:
        if not scope.expression.args.get("by_name"):
            return frozenset().union(*(self.origins(side, position) for side in scope.set_operation_scopes))
        name = self.outputs(scope)[position]
        sides = [side for side in scope.set_operation_scopes if name in self.outputs(side)]
        return frozenset().union(*(self.origins(side, self.outputs(side).index(name)) for side in sides))

    def _projections(self, scope: Scope) -> list[tuple[str, exp.Expr | tuple[Scope | str, str]]]:
        if id(scope) in self._expanded:
            return self._expanded[id(scope)]
        select = scope.expression
        if not isinstance(select, exp.Select) or scope.pivots or scope.outer_columns or scope.find(exp.Columns) is not None:
            raise _UnresolvedError
        expanded: list[tuple[str, exp.Expr | tuple[Scope | str, str]]] = []
        for projection in select.expressions:
            if isinstance(projection, exp.Star):
                expanded += self._star(scope, projection, list(scope.selected_sources))
            elif isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
                expanded += self._star(scope, projection.this, [projection.table])
            else:
                name = projection.alias_or_name
                if not name:
                    raise _UnresolvedError
                expanded.append((name, projection))
        self._expanded[id(scope)] = expanded
        return expanded

    def _star(self, scope: Scope, star: exp.Star, sources: list[str]) -> list[tuple[str, tuple[Scope | str, str]]]:
        joins = scope.expression.args.get("joins") or ()
        merged = any(join.args.get("using") or join.args.get("method") == "NATURAL" for join in joins)
        if (merged and len(sources) > 1) or star.args.get("replace") or star.args.get("rename"):
            raise _UnresolvedError
        dropped = {column.name.lower() for column in star.args.get("except_") or star.args.get("except") or ()}
        expanded = []
        for name in sources:
            source = self._source(scope, name)
            expanded += [(column, (source, column)) for column in self._columns_of(source) if column.lower() not in dropped]
        return expanded

    def _expression(self, scope: Scope, expression: exp.Expr) -> frozenset[tuple[str, str]]:
        found: frozenset[tuple[str, str]] = frozenset()
        if expression.find(exp.Query) is not None:
            raise _UnresolvedError  # a scalar subquery: its columns live in another scope
        named = {window.args["alias"].name for window in expression.find_all(exp.Window) if window.args.get("alias")}
        parts = [expression, *(window for window in scope.expression.args.get("windows") or () if window.name in named)]
        for part in parts:
            for column in part.find_all(exp.Column):
                found |= self._column(scope, column)
            if part.find(exp.Count) is not None and not found:
                # Rows counted: what a row is, the columns that it is grouped by say.
                for column in _grouped_by(scope):
                    found |= self._column(scope, column)
        return found

    def _column(self, scope: Scope, column: exp.Column) -> frozenset[tuple[str, str]]:
        if isinstance(column.this, exp.Star):
            return frozenset()  # count(t.*)
        if column.table:
            return self._source_column(self._source(scope, column.table), column.name)
        owners = [
            source
            for source in (self._source(scope, name) for name in scope.selected_sources)
            if column.name.lower() in (known.lower() for known in self._columns_of(source))
        ]
        if len(owners) == 1:
            return self._source_column(owners[0], column.name)
        # DuckDB lets an expression use an alias of the same select.
        for position, (name, projected) in enumerate(self._projections(scope)):
            if not owners and name.lower() == column.name.lower() and isinstance(projected, exp.Expr):
                return self.origins(scope, position)
        raise _UnresolvedError

    def _source(self, scope: Scope, name: str) -> Scope | str:
        chosen = scope.selected_sources.get(name)
        if chosen is None:
            raise _UnresolvedError
        source = chosen[1]
        if isinstance(source, Scope):
            return source
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
            return f"{source.db}.{source.name}" if source.db else source.name
        raise _UnresolvedError

    def _columns_of(self, source: Scope | str) -> list[str]:
        if isinstance(source, Scope):
            return self.outputs(source)
        if source not in self._known:
            raise _UnresolvedError
        return list(self._known[source])

    def _source_column(self, source: Scope | str, name: str) -> frozenset[tuple[str, str]]:
        for position, column in enumerate(self._columns_of(source)):
            if column.lower() == name.lower():
                return self.origins(source, position) if isinstance(source, Scope) else frozenset({(source, column)})
        raise _UnresolvedError


def _grouped_by(scope: Scope) -> list[exp.Column]:
    group = scope.expression.args.get("group")
    return [column for column in (group.expressions if group is not None else ()) if isinstance(column, exp.Column)]
