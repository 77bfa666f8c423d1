"""Planted markets, whose leaders and lags are known, and the trials of what a model finds there."""
