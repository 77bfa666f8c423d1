"""The champion: the strategy that is followed, chosen from realised walk-forward results.

``champion`` turns simulations and forecasts into daily results and selects by them; ``choose`` tests the families, pair by pair;
``follow`` stitches the champions' target weights; ``handover`` writes the files that a broker script reads.
"""
