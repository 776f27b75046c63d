"""Compare the run time of two versions of layerprobe on the same commands, in pairs.

    python benchmarks/bench_versions.py OLD_CHECKOUT NEW_CHECKOUT clips.csv --repeats 3

Runs each command with both versions in turn, each time with a new cache and a new run folder, and prints one
JSON line per command: `old_s` and `new_s`, wall time of each repeat, and `ratio`, the median of new / old
over the pairs. Below 1, the new version is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.machine import report

COMMANDS = {
    "help": "--help",
    "embed mfcc": "embed {clips} --model mfcc --cache features",
    "embed hubert-tiny": "embed {clips} --model random:hubert-tiny --cache features",
    "classify mfcc": "classify {clips} --model mfcc --cache features --trials 20 --out runs/mfcc",
    "classify hubert-tiny": (
        "classify {clips} --model random:hubert-tiny --cache features --trials 10 --no-audit --controls none "
        "--out runs/tiny"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the run time of two versions of layerprobe.")
    parser.add_argument("old", type=Path, help="checkout of the old version")
    parser.add_argument("new", type=Path, help="checkout of the new version")
    parser.add_argument("clips", type=Path, help="table of clips")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    arguments = parser.parse_args()
    cpu = torch.device("cpu")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}
    seconds: dict[str, dict[str, list[float]]] = {name: {"old": [], "new": []} for name in COMMANDS}
    for number in range(arguments.repeats + 1):
        order = ("old", "new") if number % 2 else ("new", "old")
        for version in order:
            checkout = getattr(arguments, version)
            with tempfile.TemporaryDirectory() as folder:
                for name, command in COMMANDS.items():
                    words = command.format(clips=arguments.clips.resolve()).split()
                    start = time.perf_counter()
                    subprocess.run(
                        [sys.executable, str(checkout / "cli.py"), *words],
                        cwd=folder,
                        env=environment,
                        check=True,
                        capture_output=True,
                    )
                    if number:  # the first pair warms the file cache
                        seconds[name][version].append(time.perf_counter() - start)
    for name, times in seconds.items():
        ratios = [new / old for old, new in zip(times["old"], times["new"], strict=True)]
        rounded = {f"{version}_s": [round(value, 2) for value in times[version]] for version in times}
        values = {"command": name, **rounded, "ratio": statistics.median(ratios)}
        report("versions", values, device=cpu)


if __name__ == "__main__":
    main()
