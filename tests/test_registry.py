"""A registry finds the files of its package, refuses a second item of a name and offers the nearest for a typo."""

import sys
from pathlib import Path

import pytest

from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import registered
from crossattn_core.registry import Registry, RegistryAt


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    package = tmp_path / "crossattn_test_colours"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "registry.py").write_text(
        "from crossattn_core.registry import Registry\nCOLOURS = Registry[str]('colour', __package__)\n"
    )
    (package / "warm.py").write_text("from crossattn_test_colours.registry import COLOURS\nCOLOURS.add('red', 'ff0000')\n")
    monkeypatch.syspath_prepend(tmp_path)
    from crossattn_test_colours.registry import COLOURS  # pyright: ignore[reportMissingImports]

    yield COLOURS
    for name in [name for name in sys.modules if name.startswith("crossattn_test_colours")]:
        del sys.modules[name]


def test_a_file_of_the_package_is_found_without_being_named_anywhere(colours: Registry[str]) -> None:
    assert colours.names() == ("red",)
    assert colours.get("red") == "ff0000"


def test_an_unknown_name_is_refused_with_the_nearest(colours: Registry[str]) -> None:
    with pytest.raises(ExperimentError, match="did you mean 'red'"):
        colours.get("rad")


def test_a_name_is_given_once(colours: Registry[str]) -> None:
    colours.names()
    with pytest.raises(ExperimentError, match="two items are called 'red'"):
        colours.add("red", "aa0000")


def test_what_is_added_for_a_block_is_gone_after_it(colours: Registry[str]) -> None:
    with colours.temporarily("blue", "0000ff"):
        assert "blue" in colours.names()
    assert "blue" not in colours.names()


def test_a_name_that_a_file_writes_out_is_known_without_importing_the_file(colours: Registry[str]) -> None:
    at = RegistryAt("crossattn_test_colours.registry", "COLOURS")
    assert "red" in at
    assert at.names() == ("red",)
    assert "crossattn_test_colours.warm" not in sys.modules
    assert at() is colours


def test_a_name_that_no_file_writes_out_is_looked_up_in_the_registry(colours: Registry[str]) -> None:
    at = RegistryAt("crossattn_test_colours.registry", "COLOURS")
    assert "blue" not in at
    with colours.temporarily("blue", "0000ff"):
        assert "blue" in at


_KNOBS = ("FamilyName", "StrategyName", "AttentionName", "EncoderName", "DetectorName", "FeedName")


@pytest.mark.parametrize("knob", _KNOBS)
def test_every_name_of_a_knob_is_written_out_in_a_file(knob: str) -> None:
    """Else an experiment that has it needs PyTorch to be read."""
    named = getattr(registered, knob).__metadata__[0].func
    for registry in named._registries:
        assert registry.names() == registry().names()
