"""The project as one static page: search, graph, columns with their origin, tests, SQL. No network, no clock."""

from html import escape
from pathlib import Path

from crossattn_core.storage import write_text
from crossattn_core.warehouse.lineage import Lineage
from crossattn_core.warehouse.project import Column, Model, Project

__all__ = ["write_docs"]

_BOX, _GAP_X, _GAP_Y = (190, 30), 60, 14


def write_docs(project: Project, path: Path) -> Path:
    """Write the page to ``path``, atomically; the same project gives the same bytes."""
    readers = {
        name: [model.name for model in project if name in model.depends_on] for name in (*project.sources, *project.models)
    }
    sections = [_model_section(model, readers[model.name]) for model in project]
    sections += [_source_section(name, columns, readers[name]) for name, columns in project.sources.items()]
    links = "".join(
        f'<li><a href="#{escape(name)}">{escape(name)}</a></li>' for name in (*sorted(project.models), *sorted(project.sources))
    )
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>SQL models</title><style>{_STYLE}</style>"
        f"<nav><h1>SQL models</h1><input id=search type=search placeholder='model, column or word' aria-label=search autofocus>"
        f"<p id=count></p><ul>{links}</ul></nav>"
        f"<main><section class=graph>{_graph(project)}</section>{''.join(sections)}</main><script>{_SCRIPT}</script></html>\n"
    )
    return write_text(path, page)


def _model_section(model: Model, readers: list[str]) -> str:
    columns = "".join(_column_row(column, _origin(model.column_lineage[column.name])) for column in model.columns)
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
    rows = "".join(_column_row(column, "") for column in columns)
    return (
        f'<section class="entry source" id="{escape(name)}"><h2>{escape(name)}</h2>'
        f"<p class=facts>source. Read by {_links(readers)}.</p>"
        f"<table><thead><tr><th>column<th>type<th>unit<th>what it is<th></thead><tbody>{rows}</tbody></table></section>"
    )


def _column_row(column: Column, origin: str) -> str:
    cells = (column.name, column.type, column.unit, column.description)
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells) + f"<td>{origin}</tr>"


def _origin(lineage: Lineage) -> str:
    if isinstance(lineage, str):
        return f"<em>{escape(lineage)}</em>"
    return ", ".join(f'<a href="#{escape(table)}">{escape(table)}</a>.{escape(name)}' for table, name in lineage) or "constant"


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
            edges.append(f'<path d="M{from_x} {from_y}C{middle} {from_y} {middle} {y + height // 2} {x} {y + height // 2}"/>')
    for name, (x, y) in place.items():
        kind = project.models[name].kind if name in project.models else "source"
        boxes.append(
            f'<a href="#{escape(name)}"><g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
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


_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:#2563eb}
@media(prefers-color-scheme:dark){:root{--link:#7aa7ff}}
body{margin:0;font:15px/1.5 system-ui,sans-serif;display:grid;grid-template-columns:16rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1rem;box-sizing:border-box;
border-right:1px solid var(--line)}
nav h1{font-size:1.1rem;margin:0 0 .5rem}nav ul{list-style:none;padding:0;margin:0}
nav input{width:100%;box-sizing:border-box;padding:.4rem}
nav p{margin:.4rem 0;opacity:.7;min-height:1.5em}main{padding:1rem 2rem;max-width:75rem}a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
.graph{overflow:auto;border:1px solid var(--line);border-radius:8px;padding:1rem;margin-bottom:2rem}
svg{max-width:100%;height:auto}
svg path{fill:none;stroke:#888a;stroke-width:1.2}
svg rect{fill:color-mix(in srgb,#2563eb 12%,Canvas);stroke:#2563eb}
svg .source rect{fill:color-mix(in srgb,#888 12%,Canvas);stroke:#888}
svg .incremental rect,svg .python rect,svg .table rect{fill:color-mix(in srgb,#16a34a 12%,Canvas);stroke:#16a34a}
svg text{font:12px ui-monospace,monospace;fill:currentColor}
.entry{border-top:1px solid var(--line);padding:.5rem 0 1.5rem;scroll-margin-top:.5rem}
h2{font:600 1.1rem ui-monospace,monospace;margin:.6rem 0}
.facts{opacity:.8}table{border-collapse:collapse;width:100%;font-size:.9em;margin:.6rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line)}
td:first-child{font-family:ui-monospace,monospace}pre{overflow:auto;background:var(--soft);padding:1rem;border-radius:6px;font-size:.85em}
@media(max-width:50rem){body{display:block}nav{position:static;height:auto;border:0}main{padding:1rem}}
"""

_SCRIPT = """
const box=document.getElementById('search'),count=document.getElementById('count');
const entries=[...document.querySelectorAll('.entry')].map(e=>[e,e.textContent.toLowerCase()]);
const rows=new Map([...document.querySelectorAll('nav li')].map(li=>[li.textContent,li]));
function find(){const words=box.value.toLowerCase().split(/\\s+/).filter(Boolean);let shown=0;
for(const [entry,text] of entries){const hit=words.every(w=>text.includes(w));
entry.hidden=!hit;rows.get(entry.id).hidden=!hit;shown+=hit}
count.textContent=words.length?shown+' of '+entries.length:''}
box.addEventListener('input',find);addEventListener('hashchange',()=>{const e=document.getElementById(location.hash.slice(1));
if(e&&e.hidden){box.value='';find();e.scrollIntoView()}});
"""
