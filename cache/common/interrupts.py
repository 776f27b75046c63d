"""Ctrl-C and SIGTERM end a command with one line and status 130, at any moment.

`cli.py` prints the message of an `Interrupted` that a run raises.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn

STATUS = 130
_IMPORT = "<frozen importlib._bootstrap>"


class Interrupted(KeyboardInterrupt):
    """A run that the user stopped; the message says what is saved and how to resume.

    `cli.py` prints `stopped: MESSAGE` and exits with status 130.
    """


def exit_on_signals() -> None:
    """Make both signals end the process at once. Call it in the main thread, before slow imports."""
    _handle(lambda number, frame: exit_now())
    sys.unraisablehook = _exit_on_dropped_interrupt


def raise_on_signals() -> None:
    """Make both signals raise KeyboardInterrupt; during an import they still end the process."""
    _handle(_raise_interrupt)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored in a shell's background job
            signal.signal(number, handler)


def exit_now() -> NoReturn:
    """End this process now, with one line. Safe at any moment, because files are written atomically."""
    os.write(2, b"stopped\n")
    os._exit(STATUS)


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            exit_now()  # compiled modules replace the exception, or print it and continue
        frame = frame.f_back
    raise KeyboardInterrupt


def _exit_on_dropped_interrupt(unraisable: sys.UnraisableHookArgs) -> None:
    """Exit where Python would drop the exception, as in a finaliser."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        exit_now()
    sys.__unraisablehook__(unraisable)


class GracefulStop:
    """A context in which the first Ctrl-C or SIGTERM sets `requested`; a second has its usual effect.

    Outside the main thread, where Python allows no signal handlers, it is never set.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._request) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
