"""What a run was made on and with."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import version
from typing import Any

PACKAGES = ("numpy", "scipy", "scikit-learn", "xgboost", "optuna", "h5py")


def versions() -> dict[str, Any]:
    """Library versions and the hardware, for run.json."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
        },
    }


def peak_memory() -> dict[str, int]:
    """Bytes: the most this process held, and the most any one worker that has ended held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "main": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()
