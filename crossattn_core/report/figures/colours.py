"""The colour of each strategy: a family, a baseline or a score keeps its own from figure to figure and from report to report."""

import colorsys
from zlib import crc32

__all__ = ["STRATEGY_COLOURS", "strategy_colour"]

STRATEGY_COLOURS = {
    "champion": "#0b5cad",
    # Baselines and plain scores.
    "equal_weight": "#20242a",
    "cash": "#a9b0b8",
    "buy_and_hold": "#7a4fb5",
    "inverse_volatility": "#2a9d8f",
    "momentum": "#8c6239",
    "reversal": "#b3a369",
    "oracle": "#5d9732",
    # Linear families and trees.
    "ridge_var": "#d9822b",
    "adaptive_lasso": "#e0b000",
    "elastic_net": "#a8861d",
    "local_lead_lag": "#f0a07a",
    "lightgbm": "#00734a",
    "lightgbm_pooled": "#7fbf7b",
    # Networks.
    "attention": "#d4145a",
    "self_attention": "#f06ba8",
    "uniform_attention": "#a64d79",
    "direction_attention": "#7b1fa2",
    "sharpe_attention": "#e35141",
    "stacked_attention": "#8e0f2e",
    "graph_attention_portfolio": "#c38bd9",
    "portfolio_transformer": "#4b2e83",
    "masaat": "#e39ab0",
    "itransformer": "#00a2c7",
    "patchtst": "#67c1d8",
    "dlinear": "#5b86b5",
    "gru": "#2f6f7e",
    "lstm": "#3b4cc0",
}


def strategy_colour(name: str) -> str:
    """The colour of strategy or score ``name``; of one that is not listed, made from its name.

    >>> strategy_colour("equal_weight"), strategy_colour("mine")
    ('#20242a', '#b342a0')
    """
    if name in STRATEGY_COLOURS:
        return STRATEGY_COLOURS[name]
    hue, lightness = divmod(crc32(name.encode()), 3)
    red, green, blue = colorsys.hls_to_rgb(hue % 360 / 360, (0.38, 0.48, 0.58)[lightness], 0.46)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))
