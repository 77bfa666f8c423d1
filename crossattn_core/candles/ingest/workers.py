"""Running a plan of requests: several assets at once, one window of each, every window stored as it arrives.

A window is validated by the one before it, so an asset's windows go one after the other; assets do not wait for each
other. A kill costs the windows in flight and nothing that had arrived.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import Any

from crossattn_core.candles.ingest.fetch import FetchRequest, FetchResult, fetch
from crossattn_core.candles.ingest.outcome import IngestCounts, VenuePlan
from crossattn_core.candles.ingest.validation import validate_result
from crossattn_core.candles.lake.store import Lake
from crossattn_core.candles.lake.writer import write_window
from crossattn_core.errors import FeedBlockedError, FeedError, PermanentFeedError
from crossattn_core.progress import Progress

__all__ = ["run_requests"]


def run_requests(
    plan: VenuePlan,
    requests: Sequence[FetchRequest],
    lake: Lake,
    counts: IngestCounts,
    failures: dict[str, FeedError],
    report: Callable[[Progress], None],
) -> None:
    """Fetch, validate and store every request; an asset's error goes into ``failures`` and spares the others.

    Raises:
        FeedBlockedError: the source refuses this address; nothing more is fetched.
    """
    source = plan.source
    queued: dict[str, deque[FetchRequest]] = {}
    for request in requests:
        queued.setdefault(request.asset.asset_id, deque()).append(request)
    in_flight: dict[Future[FetchResult], FetchRequest] = {}
    pool = ThreadPoolExecutor(source.parallel, thread_name_prefix="candles") if source.parallel > 1 else _SameThread()
    try:
        while queued or in_flight:
            busy = {request.asset.asset_id for request in in_flight.values()}
            for asset_id in [name for name in queued if name not in busy][: source.parallel - len(in_flight)]:
                request = queued[asset_id].popleft()
                if not queued[asset_id]:
                    del queued[asset_id]
                in_flight[pool.submit(fetch, source, request, plan.lag, plan.settings)] = request
            arrived = wait(in_flight, return_when=FIRST_COMPLETED).done
            for future in [future for future in in_flight if future in arrived]:
                request = in_flight.pop(future)
                asset_id = request.asset.asset_id
                counts.done += 1
                try:
                    result = future.result()
                except FeedBlockedError:
                    raise
                except PermanentFeedError as error:
                    failures[asset_id] = error
                    # No other window of this asset would fare better.
                    counts.done += len(queued.pop(asset_id, ()))
                except FeedError as error:
                    failures.setdefault(asset_id, error)
                else:
                    window = validate_result(lake, source, result, plan.settings)
                    counts.add(window, write_window(lake, window))
                    report(Progress(request.kind, counts.done, counts.total, "windows", _note(request, counts)))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _note(request: FetchRequest, counts: IngestCounts) -> str:
    """What a step shows next to its bar, for instance 'BTCUSDT, 1,000 rows, 3 requests': only what is not nothing."""
    shown = {
        "rows": counts.rows,
        "requests": counts.requests.total(),
        "retries": counts.retries.total(),
        "refused": counts.quarantined.total(),
    }
    return ", ".join([request.asset.symbol, *(f"{count:,} {name}" for name, count in shown.items() if count)])


class _SameThread(Executor):
    """For sources that take one request at a time: no thread to wait for when the user interrupts."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
