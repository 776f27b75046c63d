"""Probe the layers of frozen speech models with classical heads, and get numbers you can trust.

In a checkout this file is the package `layerprobe`, whose parts are the folders next to it; a wheel installs
it as `layerprobe/__init__.py`. So `from layerprobe.cache import FeatureStore` works in both, and nothing else
is installed at the top level.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerprobe.cache.store.feature_store import FeatureStore
    from layerprobe.classify.predict.bundle import load_bundle
    from layerprobe.classify.predict.embedder import Embedder
    from layerprobe.classify.predict.study import Study

__all__ = ["Embedder", "FeatureStore", "Study", "load_bundle"]  # and `classify`, a package and a function

__path__ = [str(Path(__file__).parent)]

# Public names -> their modules, imported when they are first used: some load torch.
_NAMES = {
    "Embedder": "layerprobe.classify.predict.embedder",
    "FeatureStore": "layerprobe.cache.store.feature_store",
    "Study": "layerprobe.classify.predict.study",
    "load_bundle": "layerprobe.classify.predict.bundle",
}


def __getattr__(name: str) -> Any:
    """Public names, subpackages, and the version, each when it is first used."""
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    if name == "classify":  # a package that can be called, see there
        return import_module("layerprobe.classify")
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'layerprobe' has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("layerprobe")
    except PackageNotFoundError:  # a checkout that is not installed
        import tomllib

        project = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])
