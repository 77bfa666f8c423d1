"""A user's own candle files, in the layouts that people have: source_file.py (a file as a table of cells), cells.py (cells as
instants and numbers), layout.py (layouts by name), asset_rows.py (a table as candles, asset by asset), import_files.py (what was
understood, and the folder that it becomes).

A layout is found by its file being here, and tried by its ``order``: binance_archive.py, tradingview.py and so on down to
named_columns.py, which knows no more than the names of columns.
"""
