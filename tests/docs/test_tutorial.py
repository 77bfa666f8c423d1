"""The tutorial runs as it stands, and shows what it says."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.notebook import TUTORIAL, execute


def notebook() -> dict:
    return json.loads(TUTORIAL.read_text(encoding="utf-8"))


def codes(of: dict) -> list[dict]:
    return [cell for cell in of["cells"] if cell["cell_type"] == "code"]


def test_the_tutorial_is_kept_executed_small_and_without_errors() -> None:
    kept = codes(notebook())
    assert [cell["execution_count"] for cell in kept] == list(range(1, len(kept) + 1))
    assert sum("image/png" in output.get("data", {}) for cell in kept for output in cell["outputs"]) >= 4
    assert TUTORIAL.stat().st_size < 400_000
    assert not any(output["output_type"] == "error" for cell in kept for output in cell["outputs"])


def test_the_lines_on_the_models_page_run_as_they_are_printed() -> None:
    page = TUTORIAL.with_name("models.md").read_text(encoding="utf-8")
    moves = np.random.default_rng(0).normal(0, 0.005, (200, 3))
    space: dict[str, Any] = {"closes": pd.DataFrame(100 * np.exp(moves.cumsum(axis=0)), columns=["BTC", "ETH", "SOL"])}
    for block in re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, "models.md", "exec"), space)
    assert space["weights"].shape == (32, 3)
    np.testing.assert_allclose(space["who_reads_whom"].sum(dim=1).detach(), 1.0, rtol=1e-5)


def test_a_cell_that_fails_is_named() -> None:
    cells = [{"cell_type": "code", "source": [line]} for line in ("x = 1", "x / 0")]
    with pytest.raises(ZeroDivisionError) as raised:
        execute({"cells": cells})
    assert raised.value.__notes__ == ["in code cell 2"]


def test_a_cells_last_expression_its_prints_and_its_pictures_are_kept() -> None:
    source = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('said')\n1 + 1"
    one = {"cells": [{"cell_type": "code", "source": source.splitlines(keepends=True)}]}
    execute(one)
    printed, picture, shown = one["cells"][0]["outputs"]
    assert printed["text"] == ["said\n"]
    assert picture["data"]["image/png"].startswith("iVBOR")
    assert shown["data"]["text/plain"] == ["2"]


SHORTER = {
    '"end": "2025-04-30"': '"end": "2025-01-24"',
    '"training": {"epochs": 4}': '"training": {"epochs": 1, "minimum_batches": 1}',
    "range(240)": "range(2)",
}


def test_every_cell_runs_on_a_shorter_period() -> None:
    short = notebook()
    text = json.dumps([cell["source"] for cell in short["cells"]])
    for whole, part in SHORTER.items():
        assert json.dumps(whole)[1:-1] in text
        text = text.replace(json.dumps(whole)[1:-1], json.dumps(part)[1:-1])
    for cell, source in zip(short["cells"], json.loads(text), strict=True):
        cell["source"] = source
    space = execute(short)
    assert len(space["leads_found"]) == 3
    assert np.isfinite(space["simulations"]["attention"].equity_T).all()
    kept = [[output["output_type"] for output in cell["outputs"]] for cell in codes(notebook())]
    assert [[output["output_type"] for output in cell["outputs"]] for cell in codes(short)] == kept


@pytest.mark.slow
def test_the_whole_period_shows_the_planted_leads() -> None:
    space = execute(notebook())
    assert [(follower, leader, lag) for follower, leader, lag in space["leads_found"]] == [
        ("ETH", "BTC", 1),
        ("SOL", "BTC", 2),
        ("XRP", "BTC", 4),
    ]
    assert min(space["held_out"][1:]) > 0.3
