"""Each model's given rows give its expected rows: one line an example."""

import pytest

from crossattn_core.warehouse.examples import Example, load_examples, run_example
from crossattn_core.warehouse.models import load_project

PROJECT = load_project()


def test_every_model_has_an_example() -> None:
    assert {example.model for example in load_examples(PROJECT)} == set(PROJECT.models)


@pytest.mark.parametrize("example", load_examples(PROJECT), ids=lambda example: f"{example.model}: {example.name}")
def test_given_rows_make_the_expected_rows(example: Example) -> None:
    assert run_example(PROJECT, example) == ""
