"""The store compared with plain files and plain HDF5, in one run.

    python benchmarks/bench_store.py [--scale 0.1] [--folder FOLDER]

Prints one JSON line per measurement, each from a separate process. At scale 1 writes 100,000 clips of 13
layers × (mean, std) × 768 in float16 (4 GB, in a temporary folder or in FOLDER; deleted at the end) and
1,000 more shards.

`write`: MB/s through the writer to shards on disk; `plain`: the same for synced plain files of a shard's
size.
`open`: seconds and memory, including Python's start, to open 1,000 shards of 1,000 clips as one table.
`layer`: seconds to read one layer of all clips into a float32 array, in random order. `contiguous` reads as
many float16 values from one contiguous dataset with h5py, `contiguous_float32` also converts them to
float32, as `layer` does; `ratio` and `ratio_float32` are these over `seconds`; `cold` reads from disk
instead of the page cache; `memory` is the memory growth over the array's size.
`random`: seconds to read 1,000 random clips, in one call and one by one.
`readers`: MB/s of one process, and of eight together, each reading two layers in batches.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import h5py
import numpy as np

from layerprobe.cache import FeatureStore
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.shard import ClipEntry, ShardWriter
from layerprobe.cache.store.writer import SHARD_BYTES

CLIPS, SHARDS, SHARD_CLIPS, RANDOM, READERS = 100_000, 1_000, 1_000, 1_000, 8
LAYERS, WIDTH = tuple(str(k) for k in range(13)), 768
ROUNDS = 3  # the fastest counts


def main() -> None:
    """Run each measurement in a separate process and print its figures with the machine."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the clips and shards")
    parser.add_argument("--folder", type=Path, default=None, help="folder on the disk to measure")
    parser.add_argument("--only", choices=MEASUREMENTS, help="run one measurement in FOLDER, after `write`")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(MEASUREMENTS[arguments.only](arguments.folder, arguments.scale)))
        return
    results = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in MEASUREMENTS:
            options = ["--only", name, "--folder", folder, "--scale", str(arguments.scale)]
            process = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, check=True)
            results[name] = json.loads(process.stdout)
    # Imported late: a child process inherits its parent's peak memory, and torch would dominate it.
    import torch

    from benchmarks.machine import report

    for name, figures in results.items():
        report(f"store-{name}", figures, device=torch.device("cpu"))


def measure_write(folder: Path, scale: float) -> dict[str, float]:
    """Write through the writer, then the same number of bytes to plain files."""
    clips, rng = scaled(CLIPS, scale), np.random.default_rng(0)
    store = FeatureStore.create(folder, extraction(LAYERS, WIDTH))
    pool = [{k: rng.standard_normal((2, WIDTH)).astype("f2") for k in LAYERS} for _ in range(500)]
    keys = [rng.bytes(32).hex() for _ in range(clips)]
    nbytes = clips * store.extraction.bytes_per_row()
    started = time.perf_counter()
    with store.writer() as writer:
        for number, key in enumerate(keys):
            writer.add(key, pool[number % len(pool)], frames=50, seconds=1.0, path=f"corpus/{number}.wav")
    ours, block = time.perf_counter() - started, rng.bytes(SHARD_BYTES)
    started = time.perf_counter()
    for number in range(-(-nbytes // SHARD_BYTES)):
        with (folder / f"plain-{number}").open("wb") as file:
            file.write(block)
            os.fsync(file.fileno())
    plain = time.perf_counter() - started
    for path in folder.glob("plain-*"):
        path.unlink()
    rate = {"mb_per_second": nbytes / ours / 1e6, "plain_mb_per_second": nbytes / plain / 1e6}
    return {"clips": clips, **rate, "clips_per_second": clips / ours, "peak_mb": peak_bytes() / 1e6}


def measure_open(folder: Path, scale: float) -> dict[str, float]:
    """Open many shards as one table."""
    rng = np.random.default_rng(1)
    store = FeatureStore.create(folder, extraction(("0",), 2))
    for _ in range(scaled(SHARDS, scale)):
        with ShardWriter(store.folder, store.extraction, rows=SHARD_CLIPS) as shard:
            shard.append("0", np.zeros((SHARD_CLIPS, 2, 2), "f2"))
            shard.finish([ClipEntry(rng.bytes(32).hex(), 1, 50, 1.0, f"{i}.wav") for i in range(SHARD_CLIPS)])
            shard.publish()
    program = (
        "import resource, sys, time; from pathlib import Path; started = time.perf_counter();"
        "from layerprobe.cache import FeatureStore; index = FeatureStore(Path(sys.argv[1])).index();"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "print(len(index.shards), len(index.digests), time.perf_counter() - started, peak / 1e3)"
    )
    command = [sys.executable, "-c", program, str(store.folder)]
    root = Path(__file__).resolve().parent.parent
    runs = [
        subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, text=True)
        for _ in range(ROUNDS)
    ]
    shards, clips, seconds, peak = min(
        (list(map(float, run.stdout.split())) for run in runs), key=lambda r: r[2]
    )
    return {"shards": shards, "clips": clips, "seconds": seconds, "peak_mb": peak}


def measure_layer(folder: Path, scale: float) -> dict[str, float]:
    """Read one layer of all clips, from the store and from one contiguous dataset."""
    store, keys = open_written(folder)
    shape, plain = (len(keys), 2, WIDTH), folder / "contiguous.h5"
    before = peak_bytes()
    nbytes = store.layer("6", keys).nbytes
    memory = (peak_bytes() - before) / nbytes
    with h5py.File(plain, "w") as file:
        file["states"] = np.random.default_rng(2).standard_normal(shape, "f4").astype("f2")

    def contiguous() -> np.ndarray:
        with h5py.File(plain) as file:
            return file["states"][()]

    shards = list(store.folder.glob("shard-*"))
    methods: dict[str, tuple[Callable[[], np.ndarray], list[Path]]] = {
        "seconds": (lambda: store.layer("6", keys), shards),
        "contiguous": (contiguous, [plain]),
        "contiguous_float32": (lambda: contiguous().astype(np.float32), [plain]),
    }
    warm = {name: min(timed(read) for _ in range(ROUNDS)) for name, (read, _) in methods.items()}
    cold = {
        name: min(timed(read, evict=files) for _ in range(ROUNDS)) for name, (read, files) in methods.items()
    }
    plain.unlink()
    return {
        "clips": len(keys),
        **warm,
        "ratio": warm["contiguous"] / warm["seconds"],
        "ratio_float32": warm["contiguous_float32"] / warm["seconds"],
        **{f"{name}_cold": seconds for name, seconds in cold.items()},
        "ratio_cold": cold["contiguous"] / cold["seconds"],
        "memory": memory,
    }


def measure_random(folder: Path, scale: float) -> dict[str, float]:
    """Read random clips, in one call and one by one."""
    store, keys = open_written(folder)
    drawn = keys[:RANDOM]
    store.layer("6", drawn[:1])
    together = min(timed(lambda: store.layer("6", drawn)) for _ in range(ROUNDS))
    sample = drawn[:100]
    per_clip = timed(lambda: [store.layer("6", [key]) for key in sample]) / len(sample)
    return {"clips": len(drawn), "seconds": together, "seconds_one_by_one": per_clip * len(drawn)}


def measure_readers(folder: Path, scale: float) -> dict[str, float]:
    """Read with one process, then with several in parallel, each its own layers."""
    store, keys = open_written(folder)
    rates = {count: reading_rate(store, len(keys), count) for count in (1, READERS)}
    one, many = rates[1], rates[READERS]
    return {"mb_per_second_1": one, f"mb_per_second_{READERS}": many, "speedup": many / one}


def reading_rate(store: FeatureStore, clips: int, count: int) -> float:
    """MB/s of float16 that `count` processes read together."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(count + 1)
    jobs = [context.Process(target=read_layers, args=(store, i, gate)) for i in range(count)]
    for job in jobs:
        job.start()
    gate.wait()  # all have started and loaded the index
    started = time.perf_counter()
    for job in jobs:
        job.join()
    return count * 2 * clips * 2 * WIDTH * 2 / (time.perf_counter() - started) / 1e6


def read_layers(store: FeatureStore, number: int, gate: threading.Barrier) -> None:
    """Read two layers, starting together with the other readers."""
    store.keys()
    gate.wait()
    for step in range(2):
        for _ in store.iterate(LAYERS[(2 * number + step) % len(LAYERS)]):
            pass


MEASUREMENTS: dict[str, Callable[[Path, float], dict[str, float]]] = {
    "write": measure_write,
    "open": measure_open,
    "layer": measure_layer,
    "random": measure_random,
    "readers": measure_readers,
}


def extraction(layers: tuple[str, ...], width: int) -> Extraction:
    """Extraction record of the benchmark's store."""
    return Extraction(
        model="benchmark",
        revision="",
        weights="none",
        architecture="none",
        normalise=False,
        layers=layers,
        widths=(width,) * len(layers),
        stats=("mean", "std"),
        dtype="float16",
        precision="fp32",
        window=30.0,
        rate=16_000,
        frame_rate=50.0,
        receptive_field=0.025,
    )


def open_written(folder: Path) -> tuple[FeatureStore, list[str]]:
    """The store that `measure_write` wrote, with its index loaded, and its keys in random order."""
    store = FeatureStore.create(folder, extraction(LAYERS, WIDTH))
    return store, np.random.default_rng(3).permutation(store.keys()).tolist()


def scaled(count: int, scale: float) -> int:
    return max(1, round(count * scale))


def timed(work: Callable[[], object], *, evict: Iterable[Path] = ()) -> float:
    """Wall time in seconds; first drops the files in `evict` from the page cache."""
    for path in evict:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
