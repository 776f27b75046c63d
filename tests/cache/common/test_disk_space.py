"""Estimated sizes and the check for free space."""

from __future__ import annotations

import shutil

import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.disk import free_bytes, require_space
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.common.text import format_bytes
from layerprobe.cache.identity.extraction import FRAME, estimate_bytes
from tests.stores import clips, extraction, fill


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_estimated_size_is_close_to_the_written_size(tmp_path, dtype):
    wide = extraction(layers=("0", "1"), widths=(256, 256), dtype=dtype)
    store = FeatureStore.create(tmp_path, wide)
    fill(store, clips(wide, 300, seed=1))
    written = sum(path.stat().st_size for path in store.folder.glob("shard-*"))
    assert written <= estimate_bytes(wide, clips=300, seconds=300.0) < 1.15 * written


def test_with_frames_the_estimate_depends_on_the_duration():
    kept = extraction(stats=(FRAME,), frame_rate=50.0)
    hour = estimate_bytes(kept, clips=1, seconds=3600.0)
    assert hour == pytest.approx(3600 * 50 * kept.bytes_per_row(), rel=0.05)
    assert estimate_bytes(kept, clips=1000, seconds=3600.0) == pytest.approx(hour, rel=0.1)


def test_insufficient_disk_space_is_refused_before_the_run(tmp_path):
    folder = tmp_path / "not" / "yet"
    assert free_bytes(folder) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    require_space(folder, 1)
    with pytest.raises(StoreError, match=r"needs 1e\+03 TB, but .* are free"):
        require_space(folder, 10**15)
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("nbytes", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_536_000, "1.54 MB"), (40e9, "40 GB"), (2.5e12, "2.5 TB")],
)
def test_format_bytes(nbytes, expected):
    assert format_bytes(nbytes) == expected
