"""The executed notebook as a page: its text, its code, and what each cell showed."""

import base64
import json
from pathlib import Path
from typing import Any

__all__ = ["notebook_page"]


def notebook_page(path: Path, pictures: str) -> tuple[str, dict[str, bytes]]:
    """The page as Markdown, and its pictures by file name; the page finds them in the folder ``pictures``."""
    parts: list[str] = []
    drawn: dict[str, bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            picture = output.get("data", {}).get("image/png")
            if picture is None:
                parts.append(f"```text\n{_text(output).rstrip()}\n```")
                continue
            name = f"{path.stem}_{len(drawn) + 1}.png"
            drawn[name] = base64.b64decode(picture)
            parts.append(f"![What the cell above drew]({pictures}/{name})")
    return "\n\n".join(parts) + "\n", drawn


def _text(output: dict[str, Any]) -> str:
    return "".join(output.get("text") or output["data"]["text/plain"])
