"""A study on a cluster that a test interrupts: `interrupted_study.py INPUT BACKEND`.

INPUT: pickled clips, store, run folder and configuration, which the test wrote.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import cast

from layerprobe.cache.common.interrupts import Interrupted, raise_on_signals
from layerprobe.classify.controls.evaluation import run_and_evaluate
from layerprobe.classify.search.clusters import BackendName
from layerprobe.classify.search.clusters.connect import workers_of


def main(source: Path, backend: BackendName) -> None:
    clips, store, out, config = pickle.loads(source.read_bytes())
    raise_on_signals()
    try:
        with workers_of(backend, jobs=2):
            run_and_evaluate(clips, store, out, config)
    except Interrupted as stop:
        print(f"stopped: {stop}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), cast(BackendName, sys.argv[2]))
