"""Planted trials come out alike on any engine, and each is kept as it ends."""

import contextlib
from pathlib import Path

import pytest

from benchmarks import bench_planted
from benchmarks.bench_planted import Trials, _trial
from crossattn_core.experiment import ComputeSettings
from tests.compute.pools import PretendPool

ASKED = ("ridge_var", "null", 0, 1500)


def test_a_trial_on_a_pool_is_kept_in_the_file_as_one_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, trials = PretendPool(), Trials(tmp_path / "trials.jsonl")
    monkeypatch.setattr(bench_planted, "open_pool", lambda settings: contextlib.nullcontext(pool))
    trials.run([ASKED], ComputeSettings(engine="ray"))
    model, column, seed, bars = ASKED
    assert Trials(tmp_path / "trials.jsonl").has(model, column, seed, bars=bars)
    # Compared as text: a trial without a planted follower has NaN.
    assert str(trials.found(model, column, seed, bars=bars)[0].__dict__) == str(_trial(*ASKED)["trial"])
    trials.run([ASKED], ComputeSettings(engine="ray"))
    assert len(pool.submitted) == 1
