"""Hyper-parameters: tried on data before the first test day only, every trial written down."""
