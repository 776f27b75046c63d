"""Whether XGBoost has a GPU to work on, asked without torch."""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import xgboost

CPU, CUDA = "cpu", "cuda"
DRIVER = "libcuda.so.1"  # comes with NVIDIA's driver


@functools.cache
def tree_device() -> str:
    """`cuda` where XGBoost can grow trees on a GPU, else `cpu`.

    A GPU that is there may be too old for the library, or full: a tiny fit tells. Hide it with
    CUDA_VISIBLE_DEVICES to grow trees on the CPU.
    """
    if not xgboost.build_info().get("USE_CUDA") or not visible_gpus():
        return CPU
    few = np.array([[0.0], [1.0]], np.float32)
    try:
        matrix = xgboost.QuantileDMatrix(few, [0, 1])
        booster = xgboost.train({"device": CUDA, "tree_method": "hist", "verbosity": 0}, matrix, 1)
        booster.inplace_predict(few)
    except xgboost.core.XGBoostError:
        return CPU
    return CUDA


def visible_gpus() -> int:
    """GPUs that NVIDIA's driver lets this process use; heeds CUDA_VISIBLE_DEVICES."""
    count = ctypes.c_int()
    try:
        driver = ctypes.CDLL(DRIVER)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value
