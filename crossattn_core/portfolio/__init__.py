"""What is traded, and how much of it: from forecasts to target weights.

``decisions`` lists the traded strategies and makes the target weights of each; ``strategies`` is the registry of baselines;
``sizing`` turns forecasts into weights (``forecast_shrinkage``, ``risk``, ``limits``, ``tradability`` are its parts);
``positions`` follows what a strategy holds; ``target_weights`` is the result and its file; ``frames``
reads weights, and closes, from pandas.
"""
