"""Pictures for the page and for the UI; each function returns a matplotlib figure, style.py turns it into SVG or PNG.

performance.py: money; buckets.py: returns by bucket of the forecast; models.py: retrains and shrinkage; attention.py, leads.py:
who attends to whom and who leads, all of them together in overview.py; stages.py: single stages for the UI.
colours.py: the colour of each strategy.
"""
