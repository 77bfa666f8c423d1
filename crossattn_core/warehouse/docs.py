"""The project as one static page: search, graph, columns with their path down to candles, tests, SQL. No network, no clock.

Look and behaviour stand in docs_page.py.
"""

from html import escape
from pathlib import Path

from crossattn_core.storage import write_text
from crossattn_core.warehouse.docs_page import SCRIPT, STYLE
from crossattn_core.warehouse.lineage import Lineage
from crossattn_core.warehouse.project import Column, Model, Project

__all__ = ["write_docs"]

_BOX, _GAP_X, _GAP_Y = (222, 30), 60, 14
_ORDER = ("staging", "aligned", "features", "marts", "raw", "results")
_LEGEND = {"source": "filled by the lake, the calendars or a stage", "view": "made when it is read", "stored": "stored rows"}


def write_docs(project: Project, path: Path) -> Path:
    """Write the page to ``path``, atomically; the same project gives the same bytes."""
    readers = {
        name: [model.name for model in project if name in model.depends_on] for name in (*project.sources, *project.models)
    }
    sections = [_model_section(model, readers[model.name]) for model in project]
    sections += [_source_section(name, columns, readers[name]) for name, columns in project.sources.items()]
    legend = "".join(f'<span class="key {kind}">{kind}</span> {escape(text)} ' for kind, text in _LEGEND.items())
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>SQL models</title><style>{STYLE}</style>"
        f"<nav><h1>SQL models</h1><input id=search type=search placeholder='model, column or word' aria-label=search autofocus>"
        f"<p id=count></p>{_index(project)}</nav>"
        f"<main><section class=graph>{_graph(project)}<p class=legend>{legend}</p></section>"
        "<p class=hint>Point at a box to see what it is made from and what reads it. "
        "Click a column to follow it down to candles.</p>"
        f"{''.join(sections)}</main><script>{SCRIPT}</script></html>\n"
    )
    return write_text(path, page)


def _index(project: Project) -> str:
    """Links by schema, in the order in which rows flow."""
    schemas: dict[str, list[str]] = {}
    for name in (*project.models, *project.sources):
        schemas.setdefault(name.split(".")[0], []).append(name)
    return "".join(
        f"<h3>{escape(schema)}</h3><ul>"
        + "".join(
            f'<li data-name="{escape(name)}"><a href="#{escape(name)}">{escape(name.split(".")[1])}</a></li>'
            for name in sorted(names)
        )
        + "</ul>"
        for schema, names in sorted(schemas.items(), key=lambda entry: (*_ORDER, entry[0]).index(entry[0]))
    )


def _model_section(model: Model, readers: list[str]) -> str:
    columns = "".join(_column_row(model.name, column, model.column_lineage[column.name]) for column in model.columns)
    tests = "".join(f"<li>{escape(test.name)}{' (warns)' if test.severity == 'warn' else ''}</li>" for test in model.tests)
    warm_up = ""
    if model.warm_up is not None:
        whose = "every asset" if model.warm_up.silent_assets else "each asset in the range"
        warm_up = f"; reads {model.warm_up.bars} bars of {whose} before the {model.warm_up.anchor}"
    facts = f"{model.kind}, one row a ({', '.join(model.grain)}){warm_up}" + (f"; {model.function}" if model.function else "")
    return (
        f'<section class=entry id="{escape(model.name)}"><h2>{escape(model.name)}</h2><p>{escape(model.description)}</p>'
        f"<p class=facts>{escape(facts)}. Reads {_links(model.depends_on)}. Read by {_links(readers)}.</p>"
        f"<table><thead><tr><th>column<th>type<th>unit<th>what it is<th>made from</thead><tbody>{columns}</tbody></table>"
        + (f"<details><summary>{len(model.tests)} tests</summary><ul>{tests}</ul></details>" if tests else "")
        + f"<details><summary>SQL</summary><pre>{escape(model.sql.strip())}</pre></details></section>"
    )


def _source_section(name: str, columns: tuple[Column, ...], readers: list[str]) -> str:
    rows = "".join(_column_row(name, column, ()) for column in columns)
    return (
        f'<section class="entry source" id="{escape(name)}"><h2>{escape(name)}</h2>'
        f"<p class=facts>source. Read by {_links(readers)}.</p>"
        f"<table><thead><tr><th>column<th>type<th>unit<th>what it is<th></thead><tbody>{rows}</tbody></table></section>"
    )


def _column_row(table: str, column: Column, lineage: Lineage) -> str:
    key = f"{table}.{column.name}"
    if isinstance(lineage, str):
        origin, made_from = f"<em>{escape(lineage)}</em>", lineage
    else:
        names = [f"{upstream}.{name}" for upstream, name in lineage]
        origin = ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names)
        made_from = " ".join(names)
    cells = "".join(f"<td>{escape(cell)}" for cell in (column.type, column.unit, column.description))
    return (
        f'<tr id="{escape(key)}" data-from="{escape(made_from)}">'
        f"<td><button type=button>{escape(column.name)}</button>{cells}<td>{origin}</tr>"
    )


def _links(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names) or "nothing"


def _graph(project: Project) -> str:
    """Boxes in columns by depth, an edge for each table that a model reads."""
    depth = dict.fromkeys(project.sources, 0)
    for model in project:
        depth[model.name] = 1 + max((depth[table] for table in model.depends_on), default=0)
    levels: dict[int, list[str]] = {}
    for name, level in depth.items():
        levels.setdefault(level, []).append(name)
    width, height = _BOX
    place: dict[str, tuple[int, int]] = {}
    for level in sorted(levels):
        # Stand beside what is read: fewer crossings, the same order every time.
        order = sorted(levels[level], key=lambda name: (_mean_row(project, name, place), name))
        for row, name in enumerate(order):
            place[name] = (level * (width + _GAP_X), row * (height + _GAP_Y))
    edges, boxes = [], []
    for model in project:
        x, y = place[model.name]
        for table in model.depends_on:
            from_x, from_y = place[table][0] + width, place[table][1] + height // 2
            middle = (from_x + x) // 2
            ends = f'data-from="{escape(table)}" data-to="{escape(model.name)}"'
            edges.append(
                f'<path {ends} d="M{from_x} {from_y}C{middle} {from_y} {middle} {y + height // 2} {x} {y + height // 2}"/>'
            )
    for name, (x, y) in place.items():
        kind = project.models[name].kind if name in project.models else "source"
        boxes.append(
            f'<a href="#{escape(name)}" data-name="{escape(name)}"><g class="{kind}">'
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
            f'<text x="{x + 10}" y="{y + 20}">{escape(name)}</text><title>{kind}</title></g></a>'
        )
    right = max(x for x, _ in place.values()) + width
    bottom = max(y for _, y in place.values()) + height
    return (
        f'<svg viewBox="-4 -4 {right + 8} {bottom + 8}" width="{right + 8}" role=img aria-label="which model reads which">'
        f"{''.join(edges)}{''.join(boxes)}</svg>"
    )


def _mean_row(project: Project, name: str, place: dict[str, tuple[int, int]]) -> float:
    above = [place[table][1] for table in project.models[name].depends_on if table in place] if name in project.models else []
    return sum(above) / len(above) if above else 0.0
