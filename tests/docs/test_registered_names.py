"""Whatever an experiment can name stands in the page where a reader looks for it."""

from typing import get_args

import pytest

from crossattn_core.experiment import PortfolioSettings
from crossattn_core.registry import RegistryAt
from tests.forks import PROJECT


@pytest.mark.parametrize(
    ("page", "module", "registry"),
    [
        ("models.md", "crossattn_core.families.registry", "FAMILIES"),
        ("models.md", "crossattn_core.model.attention.base", "ATTENTION"),
        ("backtest.md", "crossattn_core.portfolio.strategies.registry", "BASELINES"),
        ("rolling.md", "crossattn_core.regimes.detectors.registry", "DETECTORS"),
    ],
)
def test_every_registered_name_is_in_its_page(page: str, module: str, registry: str) -> None:
    text, names = (PROJECT / "docs" / page).read_text(encoding="utf-8"), RegistryAt(module, registry).names()
    assert len(names) > 2
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_rule_of_the_portfolio_is_in_the_page_on_the_backtest() -> None:
    text = (PROJECT / "docs" / "backtest.md").read_text(encoding="utf-8")
    rules = get_args(PortfolioSettings.model_fields["rule"].annotation)
    assert len(rules) > 2
    assert [rule for rule in rules if f"`{rule}`" not in text] == []
