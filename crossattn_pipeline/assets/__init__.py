"""Assets and asset checks, in the order of the line; ``from_table.py`` derives their specs from the table of stages.

candles.py     candles, dividends and funding     warehouse.py   one asset a SQL model
panel.py       the panel and regime windows       training.py    a checkpoint, and the walk-forward (multi-asset)
monitoring.py  what sensors read; freshness       attention.py   snapshots
portfolio.py   target weights and the report
"""
