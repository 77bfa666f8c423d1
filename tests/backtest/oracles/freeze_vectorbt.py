"""Store vectorbt's equity of the oracle case; its licence and its dependencies keep it out of the lock.

    python -m venv /some/where && /some/where/bin/pip install vectorbt
    /some/where/bin/python tests/backtest/oracles/freeze_vectorbt.py

Writes vectorbt.json beside this file, with the version that made it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import case  # noqa: E402 (the folder has to be on the path first: this script runs where crossattn is not installed)


def equity(cost: float) -> list[float]:
    """Equity by row: orders to target percentages of the value before fees, sells first."""
    close = pd.DataFrame(case.prices(), index=pd.DatetimeIndex(case.times()))
    size = pd.DataFrame(np.nan, index=close.index, columns=close.columns)
    size.iloc[case.fills()] = case.weights()
    done = vbt.Portfolio.from_orders(
        close, size, size_type="targetpercent", group_by=True, cash_sharing=True, call_seq="auto", fees=cost,
        init_cash=case.CAPITAL, freq="1h",
    )  # fmt: skip
    return done.value().tolist()


def main() -> None:
    """Write both cases."""
    stored = {"vectorbt": vbt.__version__, "free": equity(0.0), "costly": equity(case.COST)}
    (HERE / "vectorbt.json").write_text(json.dumps(stored) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
