"""The GPU's script runs on a CPU with small sizes: what it measures, writes and leaves out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.bench_gpu import KINDS, PARTS, QUICK, Sizes, main, report

SIZES = replace(QUICK, universe=(), at_once=())


def test_parts_write_their_tables_on_the_device_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: KINDS[name] for name in ("lag_bias", "encoder stack")}
    monkeypatch.setattr("benchmarks.bench_gpu.KINDS", few)
    quick = {title: part for title, part in PARTS.items() if title != "Members side by side"}
    text = report("cpu", SIZES, tmp_path / "gpu.md", minutes=5, parts=quick)
    assert (tmp_path / "gpu.md").read_text(encoding="utf-8") == text
    assert "FAILED" not in text
    assert text.count("| 0.0e+00 |") == len(few)  # parity of the CPU with itself
    assert text.count("same bits") >= len(few)
    assert "OTHER BITS" not in text
    assert "| lag_bias | 6 | no |" in text
    assert "refused: training.cuda_graph records kernels of a GPU" in text


@pytest.mark.slow
def test_the_whole_script_runs_anywhere_in_its_quick_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["bench_gpu", "--device", "cpu", "--quick", "--out", str(tmp_path / "gpu.md")])
    with pytest.raises(SystemExit) as ended:
        main()
    text = capsys.readouterr().out
    assert ended.value.code == 0, text
    assert all(f"## {title}" in text for title in PARTS)
    assert "Left out" not in text
    assert "OTHERS" not in text
    assert text.count("| the same |") == 1
    assert all(text.count(f"| {kind} |") >= 3 for kind in KINDS)


def test_a_part_that_fails_is_named_and_the_next_begins(tmp_path: Path) -> None:
    def broken(device: str, sizes: Sizes):
        yield "first line"
        raise RuntimeError("no kernel")

    text = report("cpu", SIZES, tmp_path / "gpu.md", minutes=5, parts={"A": broken, "Out of memory": PARTS["Out of memory"]})
    assert "first line" in text
    assert "FAILED: RuntimeError: no kernel" in text
    assert "Memory of a CPU is not made scarce." in text


def test_what_would_begin_after_its_time_is_left_out(tmp_path: Path) -> None:
    text = report("cpu", SIZES, tmp_path / "gpu.md", minutes=0, parts={"A": lambda device, sizes: iter(["a line"])})
    assert "a line" not in text
    assert "Left out after 0 minutes" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_script_says_so_and_ends_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["bench_gpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no GPU" in capsys.readouterr().err
