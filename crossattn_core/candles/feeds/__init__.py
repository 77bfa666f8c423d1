"""Where candles come from: feed.py (what every feed gives), registry.py (feeds by name), retry.py (limits and back-off).

A feed or a venue is found by its file being here: simulated.py (with simulated_market.py), files.py and api.py are kinds of
feeds; bybit.py (with page_windows.py) and yahoo.py (with yahoo_client.py and yahoo_symbols.py) are venues with their live
feeds; ccxt.py is a live feed of any exchange that the library of that name knows, binance.py and ccxt_exchanges.py are venues
that it opens.
"""
