"""The file object for HDF5: a plain file while the disk works, and never an error inside HDF5."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.cache.store.deferred_error_file import DeferredErrorFile

DATA = np.random.default_rng(0).standard_normal((300, 50))


def write(output: DeferredErrorFile) -> None:
    """No chunk cache, so that HDF5 reads back what it has written of a chunk."""
    with h5py.File(output, "w", libver=("v110", "v110"), rdcc_nbytes=0) as file:
        for name in "ab":
            states = file.create_dataset(
                name, (0, 50), "f4", maxshape=(None, 50), chunks=(64, 50), fletcher32=True
            )
            for begin in range(0, 300, 37):
                states.resize(min(begin + 37, 300), axis=0)
                states[begin:] = DATA[begin : begin + 37]
        file.attrs["x"] = 1


def test_the_written_file_is_plain_hdf5(tmp_path):
    with (tmp_path / "a.h5").open("xb+", buffering=0) as disk:
        output = DeferredErrorFile(disk.fileno())
        write(output)
        output.check()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["b"][()], DATA.astype("f4"))


@pytest.mark.parametrize("function", ["pwrite", "ftruncate", "pread"])
def test_the_first_error_is_deferred_wherever_it_occurs(tmp_path, monkeypatch, function):
    real, calls, failed = getattr(os, function), 0, 0

    def failing(*arguments: object) -> object:
        nonlocal calls, failed
        calls += 1
        if calls > good:
            failed += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, function, failing)
    for good in range(40):
        calls, before = 0, failed
        path = Path(tmp_path / f"{good}.h5")
        with path.open("xb+", buffering=0) as disk:
            output = DeferredErrorFile(disk.fileno())
            write(output)  # must neither raise nor bring the process down
            if failed > before:
                with pytest.raises(OSError, match="No space left"):
                    output.check()
            else:
                output.check()
    assert failed
