"""crossattn: from raw candles to traded weights, one straight line.

    candles -> warehouse (SQL) -> panel -> windows -> model -> walk-forward -> forecasts
                                             |-> attention snapshots   |-> weights -> backtest -> report

The packages stand in that order; nothing flows backwards, and nothing here knows Dagster.
"""

__version__ = "0.5.2"
