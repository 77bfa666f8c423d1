"""Where candles come from: feed.py (what every feed gives), registry.py (feeds by name), retry.py (limits and back-off).

A feed or a venue is found by its file being here: simulated.py (with simulated_market.py), files.py and api.py are kinds of
feeds; bybit.py (with page_windows.py) and yahoo.py are venues with their live feeds, binance.py is one
without.
"""
