"""Baseline strategies: no model, the same decisions, the same costs.

``registry`` finds them by name · ``long_only`` cash, equal weight, buy and hold, inverse volatility · ``momentum`` long winners,
short losers. A new one: a function of the panel's past and the decision rows, registered in a file here.
"""
