"""A folder of Jinja templates as every page is made from: text is escaped, and a name that is not given is an error."""

from pathlib import Path

import jinja2

__all__ = ["page_templates"]


def page_templates(folder: Path) -> jinja2.Environment:
    """The templates (``*.j2``) of a folder."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
