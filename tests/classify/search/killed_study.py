"""A study that kills itself after some trials: `killed_study.py INPUT TRIALS`, run by tests/fork_server.py.

INPUT: pickled clips, store, run folder, configuration and the fewest first trials, which the test wrote.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

from layerprobe.classify.search.progress import Progress
from layerprobe.classify.search.strategies import halving
from layerprobe.classify.search.study import run_study


def main(source: Path, trials: int) -> None:
    clips, store, out, config, halving.LEAST_TRIALS = pickle.loads(source.read_bytes())
    reports = 0

    def report(_: Progress) -> None:
        nonlocal reports
        reports += 1
        if reports == trials:
            os.kill(os.getpid(), signal.SIGKILL)

    run_study(clips, store, out, config, report=report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
