"""An instance whose event log takes events in batches, for the tests of that log."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from crossattn_pipeline.instance import relax_sqlite
from tests.pipeline.event_log_graph import instance_at


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    relax_sqlite()
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "4")


@pytest.fixture
def ours(tmp_path: Path, in_batches: None) -> Iterator[dg.DagsterInstance]:
    with instance_at(tmp_path / "batched", "batched") as instance:
        yield instance
