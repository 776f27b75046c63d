"""What a million clips cost: planning, looking up, streaming a layer, and heads that read it in blocks.

    python benchmarks/bench_million.py [--clips 100000,1000000] [--work FOLDER] [--steps plan,missing,…]

Makes so many tiny files, a table of them and a store with one layer of 768 columns × mean and std in float16,
written through the store's own writer: random states with correlated columns, whose classes differ slightly,
the same on every machine. Then each step runs in a process of its own:

    make     files, table and store (the made states are computed on the way)
    digests  the first `clip_keys`: every file is read and hashed
    plan     read the table, look up digests, join labels, outer and inner folds: what `classify` does first
    missing  which of all clips a store lacks, as `embed` asks
    layer    every state of the layer once, in bounded memory
    logreg   logistic regression, one C, on 4/5 of the clips × 1,536; the others are predicted; one thread,
             as in a worker of `classify`
    svm      the same of a linear support vector machine
    xgboost  64 principal components of the 1,536 columns, and 100 rounds of trees

Heads first copy the layer to a temporary file (`file_s`). Prints one JSON line for each step and size:
`wall_s`, `cpu_s` and `peak_mb` of the process, `growth`, the wall time for each clip relative to that of the
first size, and `cpu_growth`, that of CPU time. Needs 15 kB of disk per clip, in the work
folder and in TMPDIR together.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys, digests_to_keys

WIDTH, STATS, CLASSES, SPEAKERS, FOLDERS = 768, ("mean", "std"), 4, 1_000, 1_000
RANK = 100  # of the part of the states that columns share
BLOCK = 10_000  # clips that are made at once
LAYER, EXTRACTION = "1", "made"
KEYS, TABLE, FILES, CACHE = "keys.npy", "clips.csv", "audio", "features"
MEMORY = 4 << 30


def main() -> None:
    """Run each step for each size in a process of its own."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--clips", default="100000,1000000")
    parser.add_argument(
        "--work", type=Path, default=None, help="folder for the files; default: a temporary one"
    )
    parser.add_argument("--steps", default=",".join(STEPS), help="default: all")
    parser.add_argument("--one", default="", help=SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        step, clips = arguments.one.split(",")
        print(json.dumps(measure(step, arguments.work, int(clips))))
        return
    steps = ["make", *(step for step in arguments.steps.split(",") if step != "make")]
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"no step {unknown[0]}; the steps are {', '.join(STEPS)}")
    first: dict[str, dict[str, float]] = {}
    for clips in sorted(int(size) for size in arguments.clips.split(",")):
        with tempfile.TemporaryDirectory(dir=arguments.work, prefix=f"million-{clips}-") as folder:
            for step in steps:
                command = [sys.executable, __file__, "--one", f"{step},{clips}", "--work", folder]
                process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                figures = json.loads(process.stdout)
                before = first.setdefault(step, {"clips": clips, **figures})
                growth = {
                    name: figures[seconds] / before[seconds] * before["clips"] / clips
                    for name, seconds in (("growth", "wall_s"), ("cpu_growth", "cpu_s"))
                }
                describe({"step": step, "clips": clips, **figures, **growth})
            shutil.rmtree(Path(folder) / FILES)


def describe(line: dict[str, Any]) -> None:
    """Print one JSON line. Imports torch, which the processes that are measured do not have in memory."""
    import torch

    from benchmarks.machine import report

    report("million", line, device=torch.device("cpu"))


def measure(step: str, folder: Path, clips: int) -> dict[str, float]:
    """One step in this process."""
    import resource

    from layerprobe.cache.common.metering import peak_memory

    started, cpu = time.perf_counter(), time.process_time()
    figures = STEPS[step](folder, clips)
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_memory(resource.RUSAGE_SELF) / 1e6,
        **figures,
    }


def labels(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Class and speaker of each clip, (N,): speakers one after the other, classes at random."""
    return np.random.default_rng(0).integers(0, CLASSES, clips), np.arange(clips) * SPEAKERS // clips


def make(folder: Path, clips: int) -> dict[str, float]:
    """Files with the clip's number in them, clips.csv, and the store, in the order of the clips' lengths."""
    import csv
    import hashlib

    y, speakers = labels(clips)
    names = [f"{FILES}/{number % FOLDERS:03}/{number:07}.wav" for number in range(clips)]
    for number in range(FOLDERS):
        (folder / FILES / f"{number:03}").mkdir(parents=True)
    digests = np.empty(clips, "S32")
    for number, name in enumerate(names):
        content = f"clip {number}".encode()
        (folder / name).write_bytes(content)
        digests[number] = hashlib.sha256(content).digest()
    with (folder / TABLE).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "speaker", "emotion"])
        columns = zip(names, speakers.tolist(), y.tolist(), strict=True)
        table.writerows((name, f"speaker{speaker:04}", f"class{label}") for name, speaker, label in columns)
    np.save(folder / KEYS, digests)
    keys, rng = digests_to_keys(digests), np.random.default_rng(1)
    mixing = rng.standard_normal((RANK, WIDTH * len(STATS)), dtype=np.float32)
    mixing *= np.float32(0.97) ** np.arange(RANK, dtype=np.float32)[:, None]
    centres = 0.3 * rng.standard_normal((CLASSES, RANK), dtype=np.float32)
    offsets = 0.5 * rng.standard_normal((SPEAKERS, RANK), dtype=np.float32)
    order = rng.permutation(clips)  # an extraction stores clips by length, not as the table lists them
    store = FeatureStore.create(folder / CACHE, extraction())
    with store.writer() as writer:
        for begin in range(0, clips, BLOCK):
            some = order[begin : begin + BLOCK]
            hidden = rng.standard_normal((len(some), RANK), dtype=np.float32)
            hidden += centres[y[some]] + offsets[speakers[some]]
            X = hidden @ mixing + rng.standard_normal((len(some), WIDTH * len(STATS)), dtype=np.float32)
            states = {LAYER: X.reshape(-1, len(STATS), WIDTH).astype(np.float16)}
            picked, count = some.tolist(), len(some)
            writer.add_batch(
                [keys[i] for i in picked],
                states,
                frames=[150] * count,
                seconds=[3.0] * count,
                paths=[names[i] for i in picked],
            )
    return {}


def extraction() -> Extraction:
    """One layer of made states."""
    return Extraction(
        model=EXTRACTION,
        revision="",
        weights="seed:1",
        architecture="made",
        normalise=True,
        layers=(LAYER,),
        widths=(WIDTH,),
        stats=STATS,
        dtype="float16",
        precision="fp32",
        window=30.0,
        rate=16_000,
        frame_rate=50.0,
        receptive_field=0.025,
    )


def hash_files(folder: Path, clips: int) -> dict[str, float]:
    """Every clip's key, of files that the cache does not know yet."""
    keys = clip_keys(read_table(folder), folder / CACHE)
    check(keys == read_keys(folder), "the keys are those of the files")
    return {}


def plan(folder: Path, clips: int) -> dict[str, float]:
    """What `classify` does before the first fit."""
    from layerprobe.classify.config import StudyConfig
    from layerprobe.classify.search.plan import make_plan
    from layerprobe.classify.search.study import study_record

    started = time.perf_counter()
    table = read_table(folder)
    read = time.perf_counter() - started
    made = make_plan(table, open_store(folder), StudyConfig(memory=MEMORY))
    planned = time.perf_counter() - started - read
    study_record(made, None)
    check(len(made.data) == clips, "every clip has states")
    return {"table_s": read, "plan_s": planned}


def missing(folder: Path, clips: int) -> dict[str, float]:
    """Which clips the store lacks: of all, and one more."""
    keys = read_keys(folder)
    check(open_store(folder).missing([*keys, "0" * 64]) == ["0" * 64], "one clip is missing")
    return {}


def stream_layer(folder: Path, clips: int) -> dict[str, float]:
    """Every state once, in the order on disk."""
    total = sum(len(X) for _, X in open_store(folder).iterate(LAYER))
    check(total == clips, "every clip was read")
    return {}


def fit_head(name: str, *, pca: int = 0) -> Callable[[Path, int], dict[str, float]]:
    """A step that fits the head to all clips of 4/5 of the speakers, and predicts those of the others."""

    def fit(folder: Path, clips: int) -> dict[str, float]:
        from layerprobe.classify.features.fold_features import LayerStates, Preprocessing
        from layerprobe.classify.features.lru_cache import LruCache
        from layerprobe.classify.features.streamed.fold import StreamedFold
        from layerprobe.classify.features.streamed.stored import StoredStates
        from layerprobe.classify.heads.registry import head_of

        y, speakers = labels(clips)
        started = time.perf_counter()
        file = StoredStates.write(open_store(folder), LAYER, read_keys(folder), stats=STATS)
        written = time.perf_counter() - started
        test = speakers % 5 == 0
        layer = LayerStates(lambda: np.empty(0), STATS, WIDTH, speakers, stored=lambda: file)
        fold = StreamedFold(
            (layer,),
            y,
            train=np.flatnonzero(~test),
            test=np.flatnonzero(test),
            classes=CLASSES,
            cache=LruCache(MEMORY),
        )
        head = head_of("classification", name, streamed=True)
        prep, value = Preprocessing("+".join(STATS), "standard", pca), head.path[1][-1 if pca else 0]
        value = 3.0 if name == "logreg" else value
        with threadpool_limits(1):  # as in a worker of `classify`
            (scores,) = head.fit(fold, prep, dict(head.start), [value], 0)
        right = float((scores.argmax(1) == y[test]).mean())
        return {"file_s": written, "fit_s": time.perf_counter() - started - written, "accuracy": right}

    return fit


def read_table(folder: Path) -> list[Any]:
    """The clips of the table."""
    from layerprobe.embed.manifest.clips import read_manifest

    return read_manifest(folder / TABLE, must_exist=False)


def read_keys(folder: Path) -> list[str]:
    """The key of each clip, in the order of the table."""
    return digests_to_keys(np.load(folder / KEYS))


def open_store(folder: Path) -> FeatureStore:
    """The made states."""
    store = FeatureStore.find(folder / CACHE, extraction())
    if store is None:
        raise RuntimeError("there is no store")
    return store


def check(holds: bool, what: str) -> None:
    """Raise RuntimeError unless it holds: a figure of a wrong result is none."""
    if not holds:
        raise RuntimeError(f"it should hold that {what}")


STEPS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "make": make,
    "digests": hash_files,
    "plan": plan,
    "missing": missing,
    "layer": stream_layer,
    "logreg": fit_head("logreg"),
    "svm": fit_head("svm"),
    "xgboost": fit_head("xgboost", pca=64),
}

if __name__ == "__main__":
    main()
