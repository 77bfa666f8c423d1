"""Where the recorded candles lie, for tests that run on real input."""

from pathlib import Path

import pytest

RECORDED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
needs_recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"recorded candles absent: no folder {RECORDED}")
