"""What MkDocs calls: pages that are made join those that are written, and links find their way on the site.

A page in ``docs/`` is read on GitHub as a file too, so its links are those of the tree. On the site, a link to Markdown outside
``docs/`` that is a page goes to that page, and any other link out of ``docs/`` to the file in the repository.
"""

import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs_site.command_line import command_line_page
from docs_site.flowchart import as_svg
from docs_site.knobs import knobs_page
from docs_site.notebook import notebook_page
from docs_site.rooms import ROOMS, room_page, rooms_page

PROJECT = Path(__file__).resolve().parents[1]
OUTSIDE = {"benchmarks/README.md": "benchmarks.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Markdown of the project outside ``docs/`` -> the page that it is on the site."""
IN_PLACE = {"docs/tutorial.ipynb": "method.md"}
_LINK = re.compile(r"(\]\()([^)\s:#]+)(#[^)\s]*)?(\))")
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@cache
def made_pages() -> dict[str, str | bytes]:
    """Path on the site, as if in ``docs/`` -> content, of all that no file there holds."""
    method, pictures = notebook_page(PROJECT / "docs" / "tutorial.ipynb", "images")
    made: dict[str, str | bytes] = {
        "reference/knobs.md": knobs_page(PROJECT / "experiments" / "demo.yaml"),
        "reference/command_line.md": command_line_page(),
        "reference/rooms/README.md": rooms_page(),
        "method.md": method,
    }
    made |= {f"reference/rooms/{name.rpartition('.')[2]}.md": room_page(name) for name in ROOMS}
    made |= {page: (PROJECT / path).read_text(encoding="utf-8") for path, page in OUTSIDE.items()}
    made |= {f"assets/{name}": (PROJECT / "docs_site" / name).read_bytes() for name in ("iframe-worker.js", "site.css")}
    return made | {f"images/{name}": picture for name, picture in pictures.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let a folder in the navigation stand for its pages, README first."""
    written = [path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md")]
    config.nav = _with_pages(config.nav, sorted({*written, *made_pages()}))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made."""
    for path, content in made_pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Turn the links of the tree into those of the site, and charts that GitHub draws into pictures."""
    lies_in = {made: path for path, made in OUTSIDE.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def on_site(link: re.Match[str]) -> str:
        before, target, anchor, after = link.groups()
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(lies_in), target))
        place = (OUTSIDE | IN_PLACE).get(inside, inside.removeprefix("docs/") if inside.startswith("docs/") else "")
        if place:
            target = posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".")
        elif not (Path(config.docs_dir) / page.file.src_uri).is_file() or inside != posixpath.normpath(f"docs/{target}"):
            target = f"{config.extra['repository']}/blob/main/{inside}"
        return f"{before}{target}{anchor or ''}{after}"

    return _MERMAID.sub(lambda chart: as_svg(chart[1]) + "\n", _LINK.sub(on_site, markdown))


def _with_pages(entry: Any, pages: list[str]) -> Any:
    if isinstance(entry, list):
        return [_with_pages(one, pages) for one in entry]
    if isinstance(entry, dict):
        return {title: _with_pages(one, pages) for title, one in entry.items()}
    if not entry.endswith("/"):
        return entry
    inside = [page for page in pages if posixpath.dirname(page) == entry.rstrip("/")]
    return sorted(inside, key=lambda page: (not page.endswith("README.md"), page))
