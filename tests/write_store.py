"""A process that writes a store, for tests that kill it: `python -m tests.write_store CACHE FIRST LAST`.

Adds the clips FIRST to LAST that are missing, each with states that its number decides, and prints how many.
Options: --shard-rows N (clips in a shard), --pause S (seconds between clips), --file-limit B (bytes a file
may have, as on a full disk), --hold (stay in the writer when all is added, until stdin closes).
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import time
from pathlib import Path

import numpy as np

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.store import writer
from tests.stores import extraction

KIND = extraction(layers=("0", "1"), widths=(64, 64))


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def states(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {layer: rng.standard_normal((2, 64)).astype("f2") for layer in KIND.layers}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--shard-rows", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--file-limit", type=int, default=0)
    parser.add_argument("--hold", action="store_true")
    options = parser.parse_args()
    if options.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, options.file_limit))
    writer.SHARD_BYTES = options.shard_rows * KIND.bytes_per_row()
    try:
        store = FeatureStore.create(options.cache, KIND)
        numbers = {key(n): n for n in range(options.first, options.last)}
        missing = store.missing(numbers)
        print(len(missing), flush=True)
        with store.writer() as out:
            for one in missing:
                out.add(one, states(numbers[one]), frames=50, seconds=1.0, path=f"{numbers[one]}.wav")
                time.sleep(options.pause)
            if options.hold:
                print("holding", flush=True)
                sys.stdin.read()
    except StoreError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
