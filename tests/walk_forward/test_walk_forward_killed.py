"""Killed in the middle, or run twice at once: the same bits come out."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from crossattn_core.home import Home
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, fake_load, rolling_experiment, synthetic_panel

DAYS = 50
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = f"""
import sys, time
from datetime import timedelta
from pathlib import Path
from crossattn_core.home import Home
from crossattn_core.walk_forward.walk import walk
from tests.walk_forward.fakes import FIRST_DAY, FakeFit, fake_load, rolling_experiment, synthetic_panel
last = FIRST_DAY + timedelta(days={DAYS} - 1)
home, panel, experiment = Home(Path(sys.argv[1])), synthetic_panel({DAYS}), rolling_experiment()
for _ in walk(home, experiment, panel, FIRST_DAY, last, fit=FakeFit(), load=fake_load):
    time.sleep(float(sys.argv[2]))
"""


def _start(root: Path, pause: float) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(root), str(pause)], env=environment, cwd=ROOT)


def _stored(root: Path) -> dict[str, bytes]:
    files = [path for folder in ("walk_forward", "models") for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if not path.name.endswith(".tmp")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("whole")
    list(walk(Home(root), rolling_experiment(), synthetic_panel(DAYS), FIRST_DAY, LAST, fit=FakeFit(), load=fake_load))
    return _stored(root)


def test_a_backfill_that_was_killed_and_resumed_ends_in_the_same_bits(whole, tmp_path: Path) -> None:
    process = _start(tmp_path, 0.05)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("walk_forward/plan/*.json"))) < DAYS // 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert DAYS // 2 <= len(list(tmp_path.glob("walk_forward/plan/*.json"))) < DAYS
    list(walk(Home(tmp_path), rolling_experiment(), synthetic_panel(DAYS), FIRST_DAY, LAST, fit=FakeFit(), load=fake_load))
    assert _stored(tmp_path) == whole


def test_two_backfills_at_once_do_not_spoil_each_other(whole, tmp_path: Path) -> None:
    processes = [_start(tmp_path, pause) for pause in (0.0, 0.01)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert _stored(tmp_path) == whole
