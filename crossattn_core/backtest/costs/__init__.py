"""What an account pays and receives: one class a cost, found by being in a file here; both engines charge every one of them.

``registry`` the kinds of cost, and what each is charged on · ``trading`` venue fee, half-spread, slippage, impact · ``holding``
funding, borrow, dividends, write-off of delisted assets, interest on idle cash. A new one: a class with its formula in a file
here, and its knob in ``experiment/trading.py``; for SQL also a column in ``sources.sql`` and a term in ``daily_performance.sql``.
"""
