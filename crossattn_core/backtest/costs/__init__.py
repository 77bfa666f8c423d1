"""What an account pays and receives: one file a cost, found by being here; both engines charge every one of them.

``registry`` the kinds of cost, and what each is charged on · ``trading`` venue fee, half-spread, slippage · ``impact`` what a
trade moves its own price by · ``funding`` of perpetuals · ``borrow`` of shorts · ``dividends`` to longs, from shorts ·
``write_off`` of delisted assets · ``interest`` on idle cash. A new one: a class with its formula in a file here, and its knob in
``experiment/trading.py``; for SQL also a column in ``sources.sql`` and a term in ``marts/daily_performance.sql``.
"""
