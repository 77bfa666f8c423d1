"""Hyper-parameters: tried on days before the first test day only, every trial written down.

search.py proposes settings (Optuna) and scores each out of sample; ledger.py keeps every trial of a home, which the deflated
Sharpe ratio counts.
"""
