"""The append-only store of raw candles, funding and dividends.

store.py reads, writer.py writes one fetched window in one transaction; day_files.py are the Parquet files by asset and day,
ledger.py says what was fetched, refused and revised; revisions.py adopts later values,
rescales.py brings a history to another scale, coverage.py lists holes.
"""
