"""The pooled layer trained on planted markets, beside lag-bias attention: does what costs more also find more?

    python -m benchmarks.bench_pooled          a quarter of an hour on one core

Both are fitted on the first 80% of the same bars and judged on the rest, by the mean time-series IC of the next bar over the
followers. The pooled layer is given every help: a window of 24 bars (each planted lag lies in it, and a step costs a
hundredth of that at 168 bars), two learning rates of which the one with the better validation loss counts, and the epoch with
the best validation loss. Writes results_pooled.md beside this file.
"""

import copy
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.planted.markets import PlantedMarket, planted_suite_market
from benchmarks.planted.trial import run_trial
from benchmarks.pooled_layer import PooledNetwork
from crossattn_core.panel.labels import next_bar_labels
from crossattn_core.panel.windows import Windows, fit_scaler

MARKETS = ("linear 5%", "squared 5%")
LOOKBACK, BATCH, EPOCHS, RATES = 24, 32, 8, (1e-3, 3e-4)
TRAIN_SHARE, VALIDATION_SHARE, EMBARGO = 0.8, 0.15, 24


def main() -> None:
    """Train both on each market and write the table."""
    torch.set_num_threads(1)
    lines = [
        f"8,000 hours x 6 assets, one seed. Pooled layer: width 64, 8 heads, 2 layers, {LOOKBACK} bars, {EPOCHS} epochs.",
        "",
        "| market | model | IC | CPU s a fit |",
        "|---|---|---|---|",
    ]
    for name in MARKETS:
        market = planted_suite_market(name, 0)
        began = time.process_time()
        ic = pooled_ic(market)
        lines.append(f"| {name} | pooled layer, as written | {ic:+.3f} | {(time.process_time() - began) / len(RATES):.0f} |")
        began = time.process_time()
        trial = run_trial("attention", market, 0)
        lines.append(f"| {name} | ours, lag_bias | {trial.ic:+.3f} | {time.process_time() - began:.0f} |")
    text = "\n".join(lines) + "\n"
    Path(__file__).with_name("results_pooled.md").write_text(text, encoding="utf-8")
    print(text)


def pooled_ic(market: PlantedMarket) -> float:
    """Mean IC over the followers of the better of the learning rates."""
    panel = market.panel
    bars = len(panel.as_of_T)
    cut_off = int(bars * TRAIN_SHARE)
    split = int(cut_off * (1 - VALIDATION_SHARE))
    outcome_TN = next_bar_labels(panel).value_TNH[:, :, 0]
    target_TN = torch.from_numpy((outcome_TN / np.nanstd(outcome_TN[: split - 1], axis=0)).astype(np.float32))
    windows = Windows(panel, fit_scaler(panel, 0, split - 1), lookback=LOOKBACK, max_age_hours=96)
    train_R = np.arange(LOOKBACK, split - 1)
    validation_R = np.arange(split + EMBARGO, cut_off)
    fitted = [fit(windows, target_TN, train_R, validation_R, rate) for rate in RATES]
    _, network = min(fitted, key=lambda fit: fit[0])
    row_R = np.arange(cut_off + 1, bars - 1)
    forecast_RN = answers(network, windows, row_R)
    followers = sorted({edge.follower for edge in market.edges})
    return float(np.mean([np.corrcoef(forecast_RN[:, n], outcome_TN[row_R, n])[0, 1] for n in followers]))


def fit(
    windows: Windows, target_TN: Tensor, train_R: NDArray[np.int64], validation_R: NDArray[np.int64], rate: float
) -> tuple[float, PooledNetwork]:
    """The best validation loss and the network that had it."""
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    channels = windows.bar_TNC.shape[-1]
    network = PooledNetwork(channels, lookback=LOOKBACK, width=64, heads=8, layers=2, dropout=0.1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    best = (float("inf"), copy.deepcopy(network))
    for _ in range(EPOCHS):
        network.train()
        for row_B in np.array_split(draw.permutation(train_R), -(-len(train_R) // BATCH)):
            loss = (network(bars_of(windows, row_B)) - target_TN[row_B]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        missed_RN = answers(network, windows, validation_R) - target_TN[validation_R].numpy()
        validation_loss = float(np.square(missed_RN).mean())
        if validation_loss < best[0]:
            best = (validation_loss, copy.deepcopy(network))
    return best


def answers(network: PooledNetwork, windows: Windows, row_R: NDArray[np.int64]) -> NDArray[np.float32]:
    """(R, N) forecasts in eval mode."""
    network.eval()
    with torch.no_grad():
        return np.concatenate(
            [network(bars_of(windows, row_B)).numpy() for row_B in np.array_split(row_R, -(-len(row_R) // 128))]
        )


def bars_of(windows: Windows, row_B: NDArray[np.int64]) -> Tensor:
    """(B, N, L, C) the windows that end at the rows."""
    return windows.gather(torch.from_numpy(np.asarray(row_B))).transpose(1, 2)


if __name__ == "__main__":
    main()
