"""How long a user waits before anything happens: help, import, the first trial, a table that is cached.

    python benchmarks/bench_startup.py [--clips 100000] [--model mfcc] [--rounds 5] [--folder FOLDER]

Prints one JSON line per measurement, each the median of ROUNDS new processes: `seconds` of wall time from
the start of the process, `cpu_seconds` of it and its children, `target` in seconds of wall time. One more
process is run first, so that files are in the page cache and compiled.

`python`: Python alone, which every other figure contains. `help`: `cli.py --help`, `help-classify` that of a
command. `import`: `import layerprobe`.
`first-trial`: `classify` on 1,935 clips × 13 layers × (mean, std) × 768, the shape of BAVED and HuBERT
base, until the first trial is in the run's database; the process is killed then, so without `cpu_seconds`.
`cached`: `embed` of a table of CLIPS clips that the cache holds completely, with MODEL. The clips are files
of a few bytes in 100 folders, and their states are written here: nothing of them is decoded.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.machine import report
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.identity.hashing import SETTLED
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.backbones import plan_model

ROOT = Path(__file__).resolve().parent.parent
CLI = str(ROOT / "cli.py")
STUDY_CLIPS, STUDY_MODEL = 1_935, "random:hubert-base"
FOLDERS = 100
LONGEST = 600.0  # seconds to wait for the first trial
STARTS = {
    "python": (["-c", "pass"], None),
    "import": (["-c", "import layerprobe"], 0.3),
    "help": ([CLI, "--help"], 0.4),
    "help-classify": ([CLI, "classify", "--help"], 0.4),
}


def main() -> None:
    """Run each measurement in new processes, and print its medians with the machine."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000, help="clips of the cached table")
    parser.add_argument("--model", default="mfcc", help="model whose states are cached")
    parser.add_argument("--study-clips", type=int, default=STUDY_CLIPS, help="clips of the study")
    parser.add_argument("--study-model", default=STUDY_MODEL, help="model of the study")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="folder on the disk to measure")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    for name, (words, target) in STARTS.items():
        print_medians(name, [run(words) for _ in range(rounds + 1)], target=target)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        study, cached = Path(folder) / "study", Path(folder) / "cached"
        make_cache(study, arguments.study_model, arguments.study_clips)
        words = [CLI, "classify", str(study / "clips.csv"), "--model", arguments.study_model]
        words += ["--cache", str(study / "features"), "--no-audit", "--controls", "none"]
        trials = [first_trial(words, study / f"run-{number}") for number in range(rounds + 1)]
        print_medians("first-trial", trials, target=4.0, clips=arguments.study_clips)
        make_cache(cached, arguments.model, arguments.clips)
        words = [CLI, "embed", str(cached / "clips.csv"), "--model", arguments.model]
        words += ["--cache", str(cached / "features"), "--device", "cpu"]
        runs = [run(words) for _ in range(rounds + 1)]
        print_medians("cached", runs, target=5.0, clips=arguments.clips, model=arguments.model)


def print_medians(
    name: str, runs: Sequence[dict[str, float]], *, target: float | None, **more: int | str
) -> None:
    """Print the medians of all runs but the first."""
    medians = {key: statistics.median(run[key] for run in runs[1:]) for key in runs[0]}
    values = {**more, **medians, "slowest": max(run["seconds"] for run in runs[1:]), "rounds": len(runs) - 1}
    report(f"startup-{name}", {**values, "target": target}, device=torch.device("cpu"))


def run(words: Sequence[str]) -> dict[str, float]:
    """Wall time and processor time of `python WORDS`, which must succeed."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    elapsed, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": elapsed, "cpu_seconds": used}


def first_trial(words: Sequence[str], out: Path) -> dict[str, float]:
    """Wall time of `python WORDS --out OUT` until a trial is stored."""
    started = time.perf_counter()
    command = [sys.executable, *words, "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not has_trial(out / "search.db"):
            if process.poll() is not None or time.perf_counter() - started > LONGEST:
                process.kill()
                raise RuntimeError(f"no trial was stored: {' '.join(command)}")
            time.sleep(0.005)
        elapsed = time.perf_counter() - started
        process.kill()
    return {"seconds": elapsed}


def has_trial(database: Path) -> bool:
    """Whether an Optuna storage that another process writes holds a finished trial."""
    if not database.exists():
        return False
    with suppress(sqlite3.OperationalError):  # no table yet, or locked
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            query = "SELECT COUNT(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            return bool(connection.execute(query).fetchone()[0])
        finally:
            connection.close()
    return False


def make_cache(folder: Path, model: str, count: int) -> None:
    """`folder/clips.csv` with so many clips of 43 speakers and three classes, and random states of them."""
    table = folder / "clips.csv"
    folder.mkdir()
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "emotion", "speaker"])
        for number in range(count):
            path = folder / f"{number % FOLDERS:02}" / f"{number:06}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(f"clip {number}".encode())
            rows.writerow([path.relative_to(folder), "abc"[number % 3], f"s{number % 43}"])
    time.sleep(SETTLED / 1e9 + 0.1)  # a younger file would be hashed again in every run
    cache = folder / "features"
    plan = plan_model(EmbedConfig(model=model, cache=cache, device="cpu"))
    store = FeatureStore.create(cache, plan.extraction)
    clips = read_manifest(table)
    states_of = random_states(plan.extraction)
    with store.writer() as writer:
        for clip, key in zip(clips, clip_keys(clips, cache), strict=True):
            if not isinstance(key, str):
                raise key
            writer.add(key, next(states_of), frames=50, seconds=1.0, path=str(clip.path))


def random_states(extraction: Extraction) -> Iterator[dict[str, np.ndarray]]:
    """layer → (S, D) of one clip after another, which repeat after 500."""
    rng, stats = np.random.default_rng(0), len(extraction.stats)
    widths = dict(zip(extraction.layers, extraction.widths, strict=True))
    return cycle(
        [
            {
                layer: rng.standard_normal((stats, width)).astype(extraction.dtype)
                for layer, width in widths.items()
            }
            for _ in range(500)
        ]
    )


if __name__ == "__main__":
    main()
