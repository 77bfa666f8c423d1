"""How to ask a source again without making things worse: a rate limit, back-off with jitter, a circuit breaker.

Time and chance are handed in as a ``Waiting``, so that tests run without either.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from crossattn_core.candles.feeds.feed import Traffic
from crossattn_core.errors import FeedBlockedError, TransientFeedError

Answer = TypeVar("Answer")

__all__ = ["Breaker", "RetryableError", "TokenBucket", "Waiting", "with_patience"]


@dataclass(frozen=True)
class Waiting:
    """A clock that only runs forwards (seconds), a way to wait, and a source of chance in [0, 1)."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = field(default_factory=lambda: random.Random().random)


class TokenBucket:
    """At most ``per_second`` requests a second on average and ``burst`` at once, over all threads."""

    def __init__(self, per_second: float, burst: float, waiting: Waiting) -> None:
        self._per_second, self._burst, self._waiting = per_second, burst, waiting
        self._lock = threading.Lock()
        self._tokens, self._counted_at = burst, waiting.monotonic()

    def take(self) -> float:
        """Wait for a token; returns the seconds waited."""
        with self._lock:
            now = self._waiting.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._per_second)
            self._counted_at = now
            # A debt is paid by waiting outside the lock: the next caller sees it and waits longer.
            self._tokens -= 1
            owed = max(-self._tokens / self._per_second, 0.0)
        if owed:
            self._waiting.sleep(owed)
        return owed


class Breaker:
    """Once the source has refused this address, no further request for ``rest_seconds``."""

    def __init__(self, rest_seconds: float, waiting: Waiting) -> None:
        self._rest_seconds, self._waiting = rest_seconds, waiting
        self._open_until, self._why = float("-inf"), ""

    def trip(self, why: str) -> FeedBlockedError:
        """Open the circuit; returns the error to raise."""
        self._open_until, self._why = self._waiting.monotonic() + self._rest_seconds, why
        return FeedBlockedError(why)

    def check(self) -> None:
        """Raise while the circuit is open."""
        left = self._open_until - self._waiting.monotonic()
        if left > 0:
            raise FeedBlockedError(f"{self._why} (not asked again for another {left:.0f} s)")


class RetryableError(Exception):
    """One attempt failed in a way that the next may not; ``wait`` seconds where the source said how long."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


def with_patience(ask: Callable[[], Answer], what: str, max_attempts: int, traffic: Traffic, waiting: Waiting) -> Answer:
    """``ask`` until it answers, at most ``max_attempts`` times.

    Pauses are drawn from [0, 0.5 s x 2^attempt), the full jitter of
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, unless the source named one.

    Raises:
        TransientFeedError: every attempt failed; names each distinct cause.
    """
    causes: list[str] = []
    for attempt in range(max_attempts):
        if attempt:
            traffic.count_retry()
        try:
            return ask()
        except RetryableError as error:
            causes.append(str(error))
            if attempt + 1 < max_attempts:
                pause = waiting.chance() * min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
                if error.wait is not None:
                    pause = min(error.wait, 2 * _LONGEST_PAUSE) + pause
                traffic.count_wait(pause)
                waiting.sleep(pause)
    raise TransientFeedError(
        f"{what}: no answer after {max_attempts} attempts ({'; '.join(dict.fromkeys(causes))}); "
        "try again later: what was stored is kept"
    )
