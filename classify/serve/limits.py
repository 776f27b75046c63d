"""What one request may cost: bytes, seconds of sound, seconds of work, and how many run at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, TypeVar

from cyclopts import Parameter

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import check_minimum, parse_bytes
from layerprobe.cache.common.text import format_bytes

T = TypeVar("T")


# An integer field that is typed as `50MiB`.
MEBIBYTES = Parameter(
    converter=lambda _, tokens: parse_bytes(tokens[0].value, option=tokens[0].keyword or "--max-bytes"),
    show_default=lambda size: f"{size >> 20}MiB",
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server."""

    max_bytes: Annotated[int, MEBIBYTES] = 50 << 20
    """Largest upload."""
    max_seconds: float = 600.0
    """Longest recording, in seconds."""
    request_timeout: float = 60.0
    """Seconds that an upload may take, and a prediction with its time in the queue."""
    concurrency: int = 2
    """Predictions at a time; others wait."""
    queue: int = 8
    """Requests that may wait; more are refused at once."""

    def __post_init__(self) -> None:
        check_minimum(
            self, {"max_bytes": 1, "max_seconds": 0.1, "request_timeout": 0.1, "concurrency": 1, "queue": 0}
        )


class RequestError(Exception):
    """A request that is refused. status: of HTTP. Its text is shown to the client."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


def too_large(limits: Limits) -> RequestError:
    """The refusal of an upload above the limit."""
    return RequestError(413, f"the upload is larger than {format_bytes(limits.max_bytes)}")


class Workers:
    """Threads for predictions, with a bounded queue.

    A thread cannot be stopped: after a timeout it ends its work, and only then takes the next request. held:
    requests that run or wait.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self.held, self._lock = limits, 0, threading.Lock()
        self._threads = ThreadPoolExecutor(limits.concurrency, thread_name_prefix="predict")

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`. Raises RequestError if the queue is full or the time is over."""
        with self._lock:
            if self.held >= self._limits.concurrency + self._limits.queue:
                raise RequestError(503, "the server is busy; try again in a moment")
            self.held += 1
        job = self._threads.submit(work)
        job.add_done_callback(self._release)
        result = asyncio.wrap_future(job)
        result.add_done_callback(lambda done: done.cancelled() or done.exception())  # after a timeout
        try:
            return await asyncio.wait_for(asyncio.shield(result), self._limits.request_timeout)
        except TimeoutError:
            job.cancel()  # if it has not begun
            raise RequestError(504, f"no prediction within {self._limits.request_timeout:g} s") from None

    def _release(self, _: Future[T]) -> None:
        with self._lock:
            self.held -= 1

    def close(self) -> None:
        """Drop what has not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def check_port(port: int) -> None:
    """Raise InputError for a number that is no port."""
    if not 0 <= port <= 65_535:
        raise InputError(f"--port {port}", do="give 1 to 65535, or 0 for any free one")
