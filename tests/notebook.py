"""Executes the code cells of a notebook in this process and keeps what they show: text, tables and pictures.

python -m tests.notebook            docs/tutorial.ipynb anew, in place
"""

import ast
import base64
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

__all__ = ["TUTORIAL", "execute"]

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """The namespace after every code cell has run, in order; each cell's outputs are put into ``notebook``.

    Raises:
        Whatever a cell raises, with the cell's number as a note.
    """
    mpl.use("Agg")
    space: dict[str, Any] = {"__name__": "__main__"}
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # What a cell sets of matplotlib ends with the notebook.
    with mpl.rc_context():
        for number, cell in enumerate(codes, start=1):
            _execute(cell, number, space)
    return space


def _execute(cell: dict[str, Any], number: int, space: dict[str, Any]) -> None:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            shown = _run("".join(cell["source"]), f"<cell {number}>", space)
    except Exception as error:
        error.add_note(f"in code cell {number}")
        raise
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(keepends=True)})
    for figure in map(plt.figure, plt.get_fignums()):
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", bbox_inches="tight", metadata={"Software": None})
        outputs.append(_output({"image/png": base64.b64encode(drawn.getvalue()).decode()}, "display_data"))
    plt.close("all")
    if shown is not None:
        formats = {"text/plain": repr(shown)} | ({"text/html": shown.to_html()} if hasattr(shown, "to_html") else {})
        outputs.append(_output(formats, "execute_result") | {"execution_count": number})
    cell["execution_count"], cell["outputs"] = number, outputs


def _run(source: str, name: str, space: dict[str, Any]) -> Any:
    """Run a cell; what its last line comes to, where that is an expression not closed by a semicolon."""
    body = ast.parse(source, name).body
    shows = bool(body) and isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";")
    last = body.pop() if shows else None
    exec(compile(ast.Module(body, []), name, "exec"), space)
    return eval(compile(ast.Expression(last.value), name, "eval"), space) if isinstance(last, ast.Expr) else None  # noqa: S307


def _output(formats: dict[str, str], kind: str) -> dict[str, Any]:
    lines = {of: text if of == "image/png" else text.splitlines(keepends=True) for of, text in formats.items()}
    return {"data": lines, "metadata": {}, "output_type": kind}


if __name__ == "__main__":
    notebook = json.loads(TUTORIAL.read_text(encoding="utf-8"))
    execute(notebook)
    TUTORIAL.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
