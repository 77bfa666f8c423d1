"""The script beside this file needs vectorbt, which is not in the lock: pytest, which looks for doctests, leaves it alone."""

collect_ignore = ["freeze_vectorbt.py"]
