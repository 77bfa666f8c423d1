"""Planted markets, whose leaders and lags are known, and the trials that ask a model what it found there."""
