"""From a feed into the lake: ingest.py plans and runs it for some days, a window at a time.

fetch.py is one request: which days are due, and what came; validation.py: what of it may be stored; workers.py runs many side
by side; outcome.py counts what was done by venue and day, and turns failures into one error.
"""
