"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run, and no verdict about a slow machine.
settings.register_profile("layerprobe", deadline=None, derandomize=True)
settings.load_profile("layerprobe")
