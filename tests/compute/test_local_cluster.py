"""A local cluster that does not come up ends, and says why."""

import sys
from pathlib import Path

import pytest

from crossattn_core.compute import local_cluster
from crossattn_core.errors import ComputeError


@pytest.mark.parametrize("ending", ["exec sleep 600", "exit 1"])
def test_a_cluster_that_hangs_or_fails_at_its_start_is_ended_and_its_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho raylet is starting\n{ending}\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(local_cluster, "_SECONDS_TO_START", 0.3)
    with pytest.raises(ComputeError, match="does not start on this machine; its last words:\nraylet is starting"):
        local_cluster.LocalCluster.start(1)
