"""A process that takes part in a study: `sharing_study.py INPUT SIGNALS`, run by tests/fork_server.py.

INPUT: pickled clips, store, run folder and configuration, which the test wrote. SIGNALS: a folder in which
the process makes the file `began` after its first trial and then waits for `go`; it makes `waits` once it
waits for other processes.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

from layerprobe.classify.search import layer_figure
from layerprobe.classify.search.progress import Progress
from layerprobe.classify.search.study import run_study


def main(source: Path, signals: Path) -> None:
    clips, store, out, config = pickle.loads(source.read_bytes())

    def report(now: Progress) -> None:
        if now.waiting:
            (signals / "waits").touch()
        if now.done and not (signals / "began").exists():
            (signals / "began").touch()
            while not (signals / "go").exists():
                time.sleep(0.02)

    layer_figure.draw_layers = lambda *_: None  # type: ignore[assignment]
    run_study(clips, store, out, config, report=report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
