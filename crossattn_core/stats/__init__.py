"""Statistics on plain arrays, each once; nothing here knows a panel, a model or an experiment.

``ic`` information coefficients, ``bootstrap`` block bootstraps and their intervals, ``newey_west`` robust errors,
``forecast_accuracy`` Diebold-Mariano, ``multiple_testing`` false-discovery control, ``rank_correlation``, ``returns``.
Where arch, scipy or statsmodels give the same numbers they are used; elsewhere they are the oracle of the test.
"""
