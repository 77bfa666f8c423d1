"""Families of models: what is fitted at a cut-off and forecasts any row after it.

registry           every family by name, and the one door: `fit_model`, `load_model`
fitted             what a family is, what a fit needs and gives; `ensemble`: several seeds as one model
network, ridge, lightgbm    the families, one file a kind; `fitted_network`, `lagged_returns`: what they are made of
checkpoint, targets    storing and naming a model; the units of its labels
"""
