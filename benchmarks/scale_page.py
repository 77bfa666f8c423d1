"""The measured tables of docs/scale.md: python -m benchmarks.scale_page fills them from the results beside this file.

    <!-- measured: universe -->      from here ...
    <!-- /measured -->               ... to here a table is written anew; everything else on the page is prose

A test holds that the page is what this makes of the results that are stored.
"""

import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["TABLES", "filled", "main"]

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "scale.md"
MODELS = ("lag_bias", "ridge_var", "adaptive_lasso", "lightgbm")
FIT_HOURS, HOURS_A_YEAR = 6400, 8760
"""Rows of a measured fit, and of one in a walk-forward (retrain.history_days 365)."""
RETRAINS, COLD, YEARS = 128, 22, 10
"""Of ten years: one every 28 days after the first 90, every sixth cold (the defaults)."""


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def filled(page: str) -> str:
    """The page with every measured table made from the results."""

    def table(found: re.Match[str]) -> str:
        return f"<!-- measured: {found[1]} -->\n" + "\n".join(TABLES[found[1]]()) + "\n<!-- /measured -->"

    return re.sub(r"<!-- measured: (\w+) -->\n.*?<!-- /measured -->", table, page, flags=re.DOTALL)


def _universe() -> list[str]:
    lines = ["| assets | model | fit CPU s | forecast of a day, CPU s | peak GB |", "|---:|---|---:|---:|---:|"]
    for row in _universe_rows():
        if row["model"] in MODELS:
            cells = row["assets"], row["model"], row["fit CPU s"], row["forecast CPU s"], row["peak GB"]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cost() -> list[str]:
    warm = _warm_share()
    fits = COLD + (RETRAINS - COLD) * warm
    lines = [
        f"A cold fit of a year of hours is {HOURS_A_YEAR / FIT_HOURS:.2f} of a measured one ({FIT_HOURS:,} rows); a warm "
        f"retrain is {warm:.2f} of a cold one; {COLD} cold and {RETRAINS - COLD} warm ones are {fits:.0f} cold fits.",
        "",
        "| assets | one measured fit, CPU s | sum | CPU hours for ten years |",
        "|---:|---:|---|---:|",
    ]
    for row in _universe_rows():
        if row["model"] == "lag_bias":
            seconds = float(row["fit CPU s"])
            hours = seconds * HOURS_A_YEAR / FIT_HOURS * fits / 3600
            sum_ = f"{seconds:.1f} x {HOURS_A_YEAR / FIT_HOURS:.2f} x {fits:.0f} / 3,600"
            lines.append(f"| {row['assets']} | {seconds:.1f} | {sum_} | {hours:.1f} |")
    return lines


def _line() -> list[str]:
    text = _result("line")
    beside = "beside the stages (Dagster's own), CPU s"
    lines = [f"| run | walk-forward, CPU s | {beside} | all, CPU s |", "|---|---:|---:|---:|"]
    for name, days, assets, body in re.findall(r"\*\*(\w+)\*\*: (\d+) days, (\d+) assets;(.*?)(?=\n\*\*|\Z)", text, re.DOTALL):
        seconds = {row[0].strip("*"): row[1] for row in _cells(body) if len(row) == 4}
        of = [seconds[row] for row in ("walk_forward", "everything beside the stages", "Dagster's own", "all")]
        lines.append(f"| {name}, {assets} assets x {days} days | {of[0]} | {of[1]} ({of[2]}) | {of[3]} |")
    return lines


def _growth() -> list[str]:
    lines = ["| run | walk-forward, CPU s | all, CPU s | peak GB | home MB (files) |", "|---|---:|---:|---:|---:|"]
    for name, other in (("line_growth", "assets"), ("line_years", "days")):
        path = HERE / f"results_{name}.md"
        if not path.is_file():
            continue
        given = path.read_text(encoding="utf-8").split(" of hours")[0].split(",")[0].strip()
        cells = _cells(path.read_text(encoding="utf-8"))
        rows = {row[0]: row[1:] for row in cells}
        sizes = [head.split()[0] for head in rows["stage"] if head.split()[1] == f"{other}:"]
        for k, size in enumerate(sizes):
            seconds, peak = rows["all"][k].rstrip(")").split(" (")
            walked = rows["walk_forward"][k].split(" (")[0]
            lines.append(f"| {size} {other}, {given} | {walked} | {seconds} | {peak} | {rows['home MB (files)'][k]} |")
    return lines


def _warehouse() -> list[str]:
    text = _result("warehouse")
    size = re.search(r"(\d+) symbols x (\d+) hours", text)
    assert size is not None
    asset_days = int(size[1]) * int(size[2]) / 24
    lines = ["| step | CPU s | CPU ms an asset-day |", "|---|---:|---:|"]
    for step, cpu in re.findall(r"^(build and store \S+, all of history|export \d+ days) +[\d.]+ +([\d.]+)", text, re.MULTILINE):
        lines.append(f"| {step} | {float(cpu):.1f} | {float(cpu) / asset_days * 1e3:.3f} |")
    peak = re.search(r"peak memory of build, export and open: ([\d.]+) GB", text)
    assert peak is not None
    return [f"{size[1]} assets x {int(size[2]):,} hours, peak {peak[1]} GB:", "", *lines]


def _minutes() -> list[str]:
    history = [row for row in _cells(_result("minutes")) if row[0].isdigit()][-1]
    assets = re.search(r"\*\*(\d+) assets at one minute", _result("minutes"))
    assert assets is not None
    days, fill, lake, panel, warehouse = (float(history[place]) for place in (0, 1, 4, 5, 6))
    asset_days, minutes_a_day = 5000 * 365 * YEARS, 1440
    each = fill / days / int(assets[1])
    return [
        f"Of {assets[1]} assets and {days:.0f} days of minutes, measured; of 5,000 assets and ten years, {asset_days:,} "
        "asset-days, the product.",
        "",
        "| what | an asset-day | 5,000 assets x 10 years |",
        "|---|---:|---:|",
        f"| rows | {minutes_a_day:,} | {asset_days * minutes_a_day / 1e9:.1f}e9 |",
        f"| lake | {lake:.0f} KB | {asset_days * lake / 1e9:.1f} TB |",
        f"| warehouse | {warehouse:.0f} KB | {asset_days * warehouse / 1e9:.1f} TB |",
        f"| panel | {panel:.0f} KB | {asset_days * panel / 1e9:.1f} TB |",
        f"| candles to panel | {each * 1e3:.0f} CPU ms | {asset_days * each / 3600:,.0f} CPU hours |",
        f"| files of the lake, one an asset and day | 1 | {asset_days:,} |",
        f"| the same, one an asset and month | | {5000 * 12 * YEARS:,} |",
    ]


def _compute() -> list[str]:
    path = HERE / "results_compute.md"
    return path.read_text(encoding="utf-8").strip().splitlines() if path.is_file() else ["Not measured yet."]


def _warm_share() -> float:
    """CPU seconds of a warm retrain over those of a cold one."""
    (base,) = [row for row in _cells(_result("rolling")) if row[0] == "base" and len(row) == 7]
    return float(base[4]) / float(base[3])


def _universe_rows() -> list[dict[str, str]]:
    rows = _cells(_result("universe"))
    (head,) = [row for row in rows if row[0] == "assets"]
    named = [dict(zip(head, row, strict=True)) for row in rows if row[0].isdigit() and len(row) == len(head)]
    return [row for row in named if row["device"] == "cpu"]


def _cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def _result(name: str) -> str:
    return (HERE / f"results_{name}.md").read_text(encoding="utf-8")


TABLES: dict[str, Callable[[], list[str]]] = {
    "universe": _universe,
    "cost": _cost,
    "line": _line,
    "growth": _growth,
    "warehouse": _warehouse,
    "minutes": _minutes,
    "compute": _compute,
}


if __name__ == "__main__":
    main()
