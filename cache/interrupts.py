"""Ctrl-C and SIGTERM end a command with one line and status 130, whatever it is about."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

STATUS = 130
_IMPORT = "<frozen importlib._bootstrap>"


def install() -> None:
    """From now on both signals raise KeyboardInterrupt, or end the process at once while it imports.

    Call it before anything slow is imported, in the main thread.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background job
            signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable


def leave() -> NoReturn:
    """End this process now, with the one line. Nothing is lost: files are whole or not there."""
    os.write(2, b"stopped\n")
    os._exit(STATUS)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            leave()  # compiled modules turn an exception into another one, or print it and go on
        frame = frame.f_back
    raise KeyboardInterrupt


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    """Where Python drops an exception, as in a finaliser, do not go on as if nobody had asked."""
    if isinstance(told.exc_value, KeyboardInterrupt):
        leave()
    sys.__unraisablehook__(told)
