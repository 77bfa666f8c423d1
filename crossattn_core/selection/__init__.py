"""The champion: the strategy that is followed, chosen from realised walk-forward results.

``realised`` turns simulations and forecasts into daily results; ``choose`` tests the families on them, pair by pair;
``follow`` stitches the champions' target weights; ``champion`` is these three in order; ``handover`` writes the files that a
broker script reads.
"""
