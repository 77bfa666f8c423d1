"""The page that a risk committee reads, and the same numbers for machines; nothing here reads a home.

inputs.py: what the stages stored, loaded; data.py makes the page's inputs of it, numbers.py the content of report.json,
verdict.py its first sentences, headline.py its table. page.py writes all files: figures/ draws, tables.py and html.py fill
cells, templates/ hold HTML and CSS. explain.py: from a position back to its candle.
"""
