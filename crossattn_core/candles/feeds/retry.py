"""Repeating a request without making things worse: a rate limit, back-off with jitter, a circuit breaker.

Time and chance are handed in as a ``Backoff``, so that tests run without either.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from crossattn_core.candles.feeds.feed import Traffic
from crossattn_core.errors import FeedBlockedError, TransientFeedError

Result = TypeVar("Result")

__all__ = ["Backoff", "CircuitBreaker", "RetryableError", "TokenBucket", "with_retries"]


@dataclass(frozen=True)
class Backoff:
    """How waiting is done: a clock that only runs forwards (seconds), a sleep, and jitter in [0, 1)."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default_factory=lambda: random.Random().random)


class TokenBucket:
    """At most ``per_second`` requests a second on average and ``burst`` at once, over all threads."""

    def __init__(self, per_second: float, burst: float, backoff: Backoff) -> None:
        self._per_second, self._burst, self._backoff = per_second, burst, backoff
        self._lock = threading.Lock()
        self._tokens, self._counted_at = burst, backoff.monotonic()

    def take(self) -> None:
        """Wait for a token."""
        with self._lock:
            now = self._backoff.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._per_second)
            self._counted_at = now
            # A debt is paid by sleeping outside the lock: the next caller sees it and waits longer.
            self._tokens -= 1
            owed = max(-self._tokens / self._per_second, 0.0)
        if owed:
            self._backoff.sleep(owed)


class CircuitBreaker:
    """Once the source has refused this address, no further request for ``rest_seconds``."""

    def __init__(self, rest_seconds: float, backoff: Backoff) -> None:
        self._rest_seconds, self._backoff = rest_seconds, backoff
        self._open_until, self._why = float("-inf"), ""

    def trip(self, why: str) -> FeedBlockedError:
        """Open the circuit; returns the error to raise."""
        self._open_until, self._why = self._backoff.monotonic() + self._rest_seconds, why
        return FeedBlockedError(why)

    def check(self) -> None:
        """Raise while the circuit is open."""
        left = self._open_until - self._backoff.monotonic()
        if left > 0:
            raise FeedBlockedError(f"{self._why} (no request for another {left:.0f} s)")


class RetryableError(Exception):
    """One attempt failed in a way that the next may not; ``wait`` seconds where the source named them."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


_FIRST_PAUSE, _MAX_PAUSE = 0.5, 30.0
"""Seconds."""


def with_retries(attempt: Callable[[], Result], what: str, max_attempts: int, traffic: Traffic, backoff: Backoff) -> Result:
    """Call ``attempt`` until it succeeds, at most ``max_attempts`` times.

    Args:
        what: names the request in the error.

    Pauses are drawn from [0, 0.5 s x 2^attempt), the full jitter of
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, unless the source named one.

    Raises:
        TransientFeedError: every attempt failed; names each distinct cause.
    """
    causes: list[str] = []
    for number in range(max_attempts):
        if number:
            traffic.count_retry()
        try:
            return attempt()
        except RetryableError as error:
            causes.append(str(error))
            if number + 1 < max_attempts:
                pause = backoff.jitter() * min(_FIRST_PAUSE * 2**number, _MAX_PAUSE)
                if error.wait is not None:
                    pause = min(error.wait, 2 * _MAX_PAUSE) + pause
                backoff.sleep(pause)
    raise TransientFeedError(
        f"{what}: no response after {max_attempts} attempts ({'; '.join(dict.fromkeys(causes))}); "
        "try again later: what was stored is kept"
    )
