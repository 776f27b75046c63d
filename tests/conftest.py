"""Settings of the whole suite."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, and no verdict about a slow machine.
settings.register_profile("layerprobe", deadline=None, derandomize=True)
settings.load_profile("layerprobe")

# A shell has what it starts in the background ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Temporary files in memory if there is room: small studies wait for a disk longer than they compute.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30  # bytes
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
    os.environ["TMPDIR"], tempfile.tempdir = str(MEMORY), None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that two processes which share the files end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
