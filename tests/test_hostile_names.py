"""Names become folders, files and parts of addresses: what could leave its place there is refused."""

from pathlib import Path

import pytest

from crossattn_core.candles.lake.store import Lake
from crossattn_core.errors import ExperimentError
from crossattn_core.experiment import Experiment, load_experiment
from crossattn_core.universe import Asset

HOSTILE = [
    "../BTCUSDT",
    "..",
    ".",
    "/etc/passwd",
    "BTC/USDT",
    "BTC\\USDT",
    "C:BTC",
    "BTCUSDT\n",
    "BTC\0USDT",
    "$(reboot)",
    "`id`",
    "BTC;ID",
    "BTC|ID",
    "BTC>ID",
    "BTC*",
    "BTC?",
    "BTC'--",
    'BTC"',
    "-RF",
    "<SCRIPT>",
    "ＢＴＣ",
    "BTC USDT",
    "",
    "A" * 26,
    "A" * 1_000_000,
]


@pytest.mark.parametrize("symbol", HOSTILE, ids=lambda symbol: repr(symbol[:12]))
def test_a_symbol_that_is_no_plain_name_is_refused_in_few_words(symbol: str) -> None:
    with pytest.raises(ValueError, match="is not a symbol") as refused:
        Asset(venue="bybit", symbol=symbol)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("symbol", HOSTILE, ids=lambda symbol: repr(symbol[:12]))
def test_an_experiment_file_with_such_a_symbol_is_refused_in_few_words(symbol: str, tmp_path: Path) -> None:
    import yaml

    named = [{"venue": "bybit", "symbol": symbol}, {"venue": "bybit", "symbol": "ETHUSDT"}]
    (tmp_path / "hostile.yaml").write_text(yaml.safe_dump({"assets": named}), encoding="utf-8")
    with pytest.raises(ExperimentError) as refused:
        load_experiment(tmp_path / "hostile.yaml")
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("field", ["venue", "category", "calendar"])
def test_no_other_part_of_an_assets_key_can_be_a_path(field: str) -> None:
    with pytest.raises(ValueError, match=r"\.\./up"):
        Asset.model_validate({"venue": "bybit", "symbol": "BTCUSDT"} | {field: "../up"})


@pytest.mark.parametrize("name", ["../demo", "demo/x", "demo\n", "Demo;", "d" * 41, ""])
def test_an_experiments_name_is_plain(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Experiment.model_validate({"name": name})


def test_the_files_of_every_allowed_symbol_lie_below_the_lake(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "api")
    for symbol in ("A..B", "^GSPC", "EURUSD=X", "BRK-B", "M&M.NS", "A" + "." * 24):
        asset = Asset(venue="yahoo", symbol=symbol, calendar="XNYS")
        folder = (lake.folder / asset.venue / asset.symbol).resolve()
        assert folder.is_relative_to(tmp_path.resolve())
        assert folder.name == symbol
