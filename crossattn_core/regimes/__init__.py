"""Causal regimes of the market and the windows that they open."""
