"""What models read: time x asset x feature, only what was known at each bar.

panel.py is the arrays, store.py exports and opens them, cache.py maps them into memory; windows.py scales and cuts lookback
windows, labels.py looks ahead (nothing else may), splits.py keeps training and validation apart; align.py places predictions on
the panel's rows, schemas.py holds the contracts between stages.
"""
