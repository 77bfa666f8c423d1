"""From sources to stored candles: what a venue published, kept as it came.

feeds/ fetches (one file a venue or kind of feed), ingest/ plans, validates and counts, lake/ stores by the day with a ledger;
quality.py holds the rules that a candle must pass. Nothing here knows the panel, the warehouse or the home folder.
"""
