"""The recipes of docs/how_to/ run as they are printed, and the index of decisions names every decision."""

import os
import re
import shutil
from pathlib import Path

import pytest

from crossattn_core.warehouse.examples import load_examples, run_example
from crossattn_core.warehouse.models import MODELS_FOLDER, load_project
from tests.forks import PROJECT, forked

RECIPES, DECISIONS = PROJECT / "docs" / "how_to", PROJECT / "docs" / "decisions"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run_page(page: str, source: str) -> None:
    exec(compile(source, page, "exec"), {"__name__": "recipe"})


@pytest.mark.parametrize(
    "page", [page for page in sorted(RECIPES.glob("*.md")) if blocks(page, "python")], ids=lambda page: page.stem
)
def test_a_recipe_runs_as_it_is_printed(page: Path) -> None:
    done = forked(run_page, page.name, "\n".join(blocks(page, "python")), environment=os.environ)
    assert done.returncode == 0, done.stderr


def test_the_sql_model_of_the_recipe_loads_and_its_example_holds(tmp_path: Path) -> None:
    page, folder = RECIPES / "sql_model.md", tmp_path / "sql"
    shutil.copytree(MODELS_FOLDER, folder)
    (model,), (example,) = blocks(page, "sql"), blocks(page, "yaml")
    (folder / "marts" / "quiet_assets.sql").write_text(model, encoding="utf-8")
    (folder / "tests" / "quiet_assets.yaml").write_text(example, encoding="utf-8")
    project = load_project(folder)
    (found,) = [found for found in load_examples(project, folder) if found.model == "marts.quiet_assets"]
    assert run_example(project, found) == ""


def test_every_recipe_is_on_the_first_page() -> None:
    named = set(re.findall(r"\]\((\w+\.md)\)", (RECIPES / "README.md").read_text(encoding="utf-8")))
    assert named == {page.name for page in RECIPES.glob("*.md")} - {"README.md"}


def test_the_index_names_every_decision_by_its_number() -> None:
    named = re.findall(
        r"^\| \[(\d+)\]\((\d{4}-[\w-]+\.md)\)", (DECISIONS / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [name for _, name in named] == sorted(page.name for page in DECISIONS.glob("[0-9]*.md"))
    assert all(int(number) == int(name[:4]) for number, name in named)
