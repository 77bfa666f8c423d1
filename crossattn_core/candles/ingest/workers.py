"""Working a plan of questions off: several assets at once, one window of each, every window stored as it arrives.

A window is judged by the one before it, so an asset's windows go one after the other; assets do not wait for each
other. A kill costs the windows in flight and nothing that had arrived.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import Any

from crossattn_core.candles.feeds.feed import Progress
from crossattn_core.candles.ingest.fetch import Question, Reply, fetch, judged
from crossattn_core.candles.ingest.outcome import Tally, VenuePlan
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.lake.writer import store_answer
from crossattn_core.errors import FeedBlockedError, FeedError, PermanentFeedError

__all__ = ["work_off"]


def work_off(
    plan: VenuePlan,
    asked: Sequence[Question],
    lake: Lake,
    tally: Tally,
    failures: dict[str, FeedError],
    report: Callable[[Progress], None],
) -> None:
    """Fetch, judge and store every question; an asset's error goes into ``failures`` and spares the others.

    Raises:
        FeedBlockedError: the source refuses this address; nothing more is asked.
    """
    source = plan.source
    waiting: dict[str, deque[Question]] = {}
    for question in asked:
        waiting.setdefault(question.asset.asset_id, deque()).append(question)
    in_flight: dict[Future[Reply], Question] = {}
    pool = ThreadPoolExecutor(source.parallel, thread_name_prefix="candles") if source.parallel > 1 else _SameThread()
    try:
        while waiting or in_flight:
            busy = {question.asset.asset_id for question in in_flight.values()}
            for asset_id in [name for name in waiting if name not in busy][: source.parallel - len(in_flight)]:
                question = waiting[asset_id].popleft()
                if not waiting[asset_id]:
                    del waiting[asset_id]
                in_flight[pool.submit(fetch, source, question, plan.lag)] = question
            arrived = wait(in_flight, return_when=FIRST_COMPLETED).done
            for future in [future for future in in_flight if future in arrived]:
                question = in_flight.pop(future)
                tally.done += 1
                try:
                    reply = future.result()
                except FeedBlockedError:
                    raise
                except FeedError as error:
                    _note(error, question.asset.asset_id, failures, waiting, tally)
                    continue
                answer = judged(lake, source, reply)
                tally.book(answer, store_answer(lake, answer))
                report(_progress(question, tally))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _note(
    error: FeedError, asset_id: str, failures: dict[str, FeedError], waiting: dict[str, deque[Question]], tally: Tally
) -> None:
    failures.setdefault(asset_id, error)
    if isinstance(error, PermanentFeedError):
        # No other window of this asset would fare better.
        failures[asset_id] = error
        tally.done += len(waiting.pop(asset_id, ()))


def _progress(question: Question, tally: Tally) -> Progress:
    counts = (sum(counted.values()) for counted in (tally.requests, tally.retries, tally.quarantined))
    return Progress(question.kind, tally.done, tally.total, question.asset.symbol, tally.rows, *counts)


class _SameThread(Executor):
    """For sources that take one question at a time: no thread to wait for when the user interrupts."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
