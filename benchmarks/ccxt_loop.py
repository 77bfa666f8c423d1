"""The loop that everybody writes with ccxt: a page, then on from its last candle. Nothing is judged or stored.

    PYTHON benchmarks/ccxt_loop.py URL START_MS END_MS SYMBOL...

Runs under a Python of its own that has ccxt; prints rows, wall seconds and CPU seconds.
"""

import sys
import time

import ccxt

HOUR = 3_600_000


def main(url: str, start: int, end: int, symbols: list[str]) -> None:
    """Read [start, end) of every symbol."""
    exchange = ccxt.bybit({"enableRateLimit": False})
    exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], url)
    # What load_markets would say, without its questions: kline requests are what is counted.
    exchange.set_markets([_market(exchange, symbol) for symbol in symbols])
    wall, cpu, rows = time.perf_counter(), time.process_time(), 0
    for symbol in symbols:
        since = start
        while since < end:
            page = [row for row in exchange.fetch_ohlcv(symbol, "1h", since=since, limit=1000) if row[0] < end]
            if not page:
                break
            rows += len(page)
            since = page[-1][0] + HOUR
    print(rows, time.perf_counter() - wall, time.process_time() - cpu)


def _market(exchange: ccxt.bybit, symbol: str) -> dict:
    known = {"id": symbol, "symbol": symbol, "base": symbol[:-4], "quote": "USDT", "settle": "USDT", "type": "swap"}
    kind = {"spot": False, "swap": True, "linear": True, "inverse": False, "contract": True, "active": True}
    return exchange.safe_market_structure(known | kind)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
