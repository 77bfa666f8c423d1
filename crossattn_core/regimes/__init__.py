"""Causal regimes of the market, and the windows that they open.

``market_days`` sums returns of bars by day; ``detectors`` (a registry, one file a detector) names each day's state; ``daily``
confirms a state that holds for some days; ``windows`` lists the spans between confirmed changes.
"""
