"""A stage reads no section of the experiment that the table of stages does not list: what it reads makes it stale."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossattn_core import data_stages, model_stages
from crossattn_core.experiment import Experiment
from crossattn_core.home import open_home
from crossattn_core.line import Line
from tests.small import STORED_TABLES, past, small_experiment, write_market

EVERY_STAGE_MAY_READ = {"period"}
"""Which days there are is a matter of partitions and inputs."""

READ: list[str] = []


class Recorded(Experiment):
    """An experiment that writes down which of its sections is read."""

    def __getattribute__(self, name: str) -> Any:
        if name in Experiment.model_fields:
            READ.append(name)
        return super().__getattribute__(name)


@pytest.fixture(scope="module")
def read_by_stage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Stage -> the sections that its run function read, of the whole small line."""
    folder = tmp_path_factory.mktemp("recorded")
    write_market(folder / "market")
    experiment = Recorded.model_validate(small_experiment(folder / "market").model_dump())
    line = Line(experiment, open_home(folder / "home", experiment), clock=past)
    first, last = experiment.period.start, line.last_day
    runs: dict[str, Callable[[], object]] = {
        "candles/bybit": lambda: data_stages.ingest_candles(line, "bybit", first, last),
        "candles/yahoo": lambda: data_stages.ingest_candles(line, "yahoo", first, last),
        "candles/bybit_funding": lambda: data_stages.ingest_funding(line, "bybit", first, last),
        **{name: lambda name=name: data_stages.build_table(line, name, first, last) for name in STORED_TABLES},
        "feature_windows": lambda: data_stages.export_windows(line, first, last),
        "regime_windows": lambda: model_stages.find_regimes(line),
        "walk_forward": lambda: list(model_stages.walk_forward(line, first, last)),
        "monitoring": lambda: model_stages.watch(line),
        "attention_snapshot": lambda: model_stages.snapshot_attention(line, first, last),
        "target_weights": lambda: model_stages.decide_weights(line),
    }

    def unseen(keep_receipts: Callable[..., Any]) -> Callable[..., Any]:
        # The receipt names every knob that the table lists: reading them there proves nothing.
        def kept(*given: object) -> object:
            before = len(READ)
            result = keep_receipts(*given)
            del READ[before:]
            return result

        return kept

    read: dict[str, set[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for bookkeeping in ("made_from", "_record"):
            patch.setattr(Line, bookkeeping, unseen(getattr(Line, bookkeeping)))
        for name, run in runs.items():
            line.staleness.expected(name)
            READ.clear()
            run()
            read[name] = set(READ)
    return read


def test_no_stage_reads_a_section_that_it_does_not_list(read_by_stage: dict[str, set[str]], tmp_path: Path) -> None:
    experiment = small_experiment(tmp_path)
    stages = Line(experiment, open_home(tmp_path / "home", experiment), clock=past).stages
    for name, read in read_by_stage.items():
        listed = {knob.split(".")[0] for knob in stages[name].knobs}
        assert read - listed - EVERY_STAGE_MAY_READ == set(), name
