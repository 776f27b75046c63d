"""Probe the layers of frozen speech models with classical heads, and get numbers you can trust.

In a checkout this file is the package `layerprobe`, whose parts are the folders next to it; a wheel installs
it as `layerprobe/__init__.py`. So `from layerprobe.cache import FeatureStore` works in both, and nothing else
is installed at the top level.
"""

from __future__ import annotations

from pathlib import Path

__path__ = [str(Path(__file__).parent)]


def __getattr__(name: str) -> str:
    """`layerprobe.__version__`, read when it is first asked for: importing metadata takes a moment."""
    if name != "__version__":
        raise AttributeError(f"module 'layerprobe' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("layerprobe")
    except PackageNotFoundError:  # a checkout that is not installed
        import tomllib

        project = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])
