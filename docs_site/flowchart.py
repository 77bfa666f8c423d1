"""A Mermaid flowchart as SVG: GitHub draws the one itself, the site asks no script from elsewhere for the other."""

import re
from html import escape

__all__ = ["as_svg"]

_BOX, _GAP = (150, 40), (34, 14)
_NODE = re.compile(r'^ *(\w+)\["(.+)"\]$', re.MULTILINE)
_EDGE = re.compile(r"^ *(\w+) --> (\w+)$", re.MULTILINE)


def as_svg(mermaid: str) -> str:
    """Boxes in columns, each right of all that it reads; an edge that leads back to the left is dashed and orders nothing."""
    labels, edges = dict(_NODE.findall(mermaid)), _EDGE.findall(mermaid)
    place = _places(list(labels), edges)
    width = max(x for x, _ in place.values()) + _BOX[0] + 2
    height = max(y for _, y in place.values()) + _BOX[1] + 2
    lines = [_arrow(place[parent], place[child]) for parent, child in edges]
    boxes = [_box(place[key], label.split("<br>")) for key, label in labels.items()]
    head = f'<svg class="flowchart" role="img" viewBox="0 0 {width} {height}" width="100%" fill="none" stroke="currentColor">'
    return "".join([head, *lines, *boxes, "</svg>"])


def _places(keys: list[str], edges: list[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Key -> upper left corner of its box."""
    order = {key: number for number, key in enumerate(keys)}
    column = dict.fromkeys(keys, 0)
    for key in keys:  # parents stand before their children, but for edges that lead back
        column[key] = max(
            (column[parent] + 1 for parent, child in edges if child == key and order[parent] < order[key]), default=0
        )
    rows: dict[int, int] = {}
    place = {}
    for key in keys:
        row = rows.get(column[key], 0)
        rows[column[key]] = row + 1
        place[key] = (1 + column[key] * (_BOX[0] + _GAP[0]), 1 + row * (_BOX[1] + _GAP[1]))
    return place


def _box(corner: tuple[int, int], lines: list[str]) -> str:
    x, y = corner
    middle = x + _BOX[0] / 2
    first = y + _BOX[1] / 2 + (5 if len(lines) == 1 else -3)
    text = "".join(
        f'<text x="{middle}" y="{first + 15 * number}" text-anchor="middle" font-size="{13 if number == 0 else 11}" '
        f'fill="currentColor" stroke="none" opacity="{1 if number == 0 else 0.65}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return f'<rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="4" fill="var(--md-default-bg-color)"/>{text}'


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x0, y0, x1, y1 = start[0] + _BOX[0], start[1] + _BOX[1] / 2, end[0], end[1] + _BOX[1] / 2
    if x1 < x0:
        return f'<path d="M{start[0]} {y0} L{end[0] + _BOX[0]} {y1}" opacity="0.25" stroke-dasharray="3 3"/>'
    bend = (x1 - x0) / 2
    return f'<path d="M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}" opacity="0.35"/>'
