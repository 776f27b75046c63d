"""The package `layerprobe`: in a checkout its parts are the folders beside this file.

A wheel installs this file as `layerprobe/__init__.py`, with `cache`, `embed`, `classify` and `cli` beside
it, so that `from layerprobe.cache import FeatureStore` works in both and nothing else appears at the top level.
"""

from __future__ import annotations

from pathlib import Path

__path__ = [str(Path(__file__).parent)]
