"""The rooms of the library as a page: what each says of itself, and its modules; mkdocstrings fills in the docstrings."""

import pkgutil
import re
from importlib import import_module

import crossattn_core

__all__ = ["ROOMS", "room_page", "rooms_page"]

ROOMS = tuple(module.name for module in pkgutil.iter_modules(crossattn_core.__path__, "crossattn_core.") if module.ispkg)
"""Every package of the library, by name."""
STORY = (
    "crossattn_core.stages",
    "crossattn_core.stage",
    "crossattn_core.line",
    "crossattn_core.data_stages",
    "crossattn_core.model_stages",
)
"""Where to start: the table of stages, and the line that runs them."""


def room_page(name: str) -> str:
    """One room as Markdown: its own docstring, then the public names of every module in it."""
    package = import_module(name)
    modules = [module.name for module in pkgutil.iter_modules(package.__path__, f"{name}.") if not module.ispkg]
    return "\n".join(
        [f"# {name.rpartition('.')[2]}\n", _as_markdown(package.__doc__), *(f"::: {module}\n" for module in modules)]
    )


def rooms_page() -> str:
    """The way in: the modules that tell the story, and a line a room."""
    rows = [f"| [{name.rpartition('.')[2]}]({name.rpartition('.')[2]}.md) | {_first_line(name)} |" for name in ROOMS]
    table = ["| room | what it holds |", "|---|---|", *rows, ""]
    head = "# The library\n\n`crossattn_core` knows no Dagster. Its rooms, and below them the modules that tell the story.\n"
    return "\n".join([head, *table, *(f"::: {module}\n" for module in STORY)])


def _first_line(name: str) -> str:
    return str(import_module(name).__doc__).splitlines()[0]


def _as_markdown(text: str | None) -> str:
    """Prose as it stands; a paragraph of names and meanings in columns as a list."""
    parts = []
    for part in str(text).strip().split("\n\n"):
        rows = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in part.splitlines()]
        is_table = all(len(row) == 2 for row in rows)
        parts.append("\n".join(f"- `{name}` {meaning}" for name, meaning in rows) if is_table else part.replace("``", "`"))
    return "\n\n".join(parts) + "\n"
