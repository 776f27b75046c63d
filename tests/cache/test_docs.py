"""The examples in docs/feature-store.md run, in order; the package is light to import."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from typing import Any

from layerprobe.cache import FeatureStore
from layerprobe.cache.identity.extraction import FRAME
from tests.run import ROOT
from tests.stores import clips, extraction, fill


def examples() -> str:
    """The Python blocks of docs/feature-store.md, in order."""
    text = (ROOT / "docs" / "feature-store.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").write_bytes(b"sound")
    home = tmp_path / "features" / "hubert-base"
    home.mkdir(parents=True)
    for name, stats in (("0123456789abcdef", ("mean", "std")), ("fedcba9876543210", (FRAME,))):
        kind = extraction(layers=("0", "9"), widths=(768, 768), stats=stats)
        store = FeatureStore.create(tmp_path / "made", kind)
        held = clips(kind, 5, seed=1)
        held[hashlib.sha256(b"sound").hexdigest()] = clips(kind, 1, seed=2).popitem()[1]
        fill(store, held)
        (home / name).symlink_to(store.folder)
    space: dict[str, Any] = {}
    exec(compile(examples(), "docs/feature-store.md", "exec"), space)
    assert space["store"].missing([space["key"]]) == []
    assert space["total"] != 0
    assert space["states"].shape == (1, 768)
    assert sorted(len(x) for x, _ in space["loader"]) == [6]


def loaded_by(program: str, suspects: set[str]) -> set[str]:
    """Which of the modules a fresh Python has loaded after the program."""
    code = f"import sys; {program}; print(*sorted({suspects!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_errors_and_identity_import_nothing_heavy():
    assert (
        loaded_by(
            "import layerprobe.cache.common.errors, layerprobe.cache.identity.extraction",
            {"numpy", "h5py", "torch"},
        )
        == set()
    )


def test_reading_a_store_needs_no_torch():
    assert loaded_by("from layerprobe.cache import FeatureStore", {"h5py", "torch", "pandas", "pyarrow"}) == {
        "h5py"
    }
