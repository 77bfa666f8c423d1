"""The page that a risk committee reads, and the same numbers for machines; nothing here reads a home.

inputs.py: what the stages stored, and the page's inputs made of it; numbers.py: the content of report.json; verdict.py: its first
sentences; lead_verdict.py: the leads in one. page.py writes all files: figures/ draws, tables.py and html.py fill cells (the
headline's too), templates/ hold HTML and CSS. explain.py: from a position back to its candle.
"""
