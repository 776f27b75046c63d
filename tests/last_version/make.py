"""Make `last-version/`: a small cache and run folders as version 0.1.0 (commit b282586) wrote them.

    python make_last_version.py OLD_CHECKOUT [--out FOLDER] [--check-only]

OLD_CHECKOUT is a checkout of that version. Run this with a Python that has its packages. Every file comes
from its own `cli.py`, run as a process; all this script adds are the sounds, the table and `made.json`. It
takes about two minutes on two cores. At its end it copies the folder elsewhere, resumes the interrupted run
there with the old version, and compares; `--check-only` does that alone, with what is in FOLDER already.

What is made
------------
clips.csv, sounds/      24 clips of 0.12 to 0.16 s (16 kHz, PCM_16, mono): 6 speakers, 2 classes, 2 takes;
                        and `silent.wav`, which fails: "silent: every sample has the same value"
features/               the cache: `mfcc` and `random:hubert-tiny` (layers 0-1, mean only), each with
                        costs.csv and failures.csv (the silent clip); digests.db; audit/
runs/finished/          `classify`, 3 trials, with its audit and the cheap controls
runs/interrupted/       `classify`, 12 trials, SIGKILLed: it has run.json, splits.json, search.db with
                        finished trials, and outcomes/ of the studies that ended; no results, predictions or
                        summary
runs/uninterrupted/     of the same command, run to its end: summary.json, predictions.csv, splits.json and
                        results.csv, nothing else
runs/finetuned/         `finetune` of random:hubert-tiny, one epoch, on the splits of runs/finished
made.json               the commands, the commit, the processor, and what runs/interrupted holds

Left out are the figures (240 kB that nothing reads back). Times, memory and the machine, which are in
run.json and costs.csv, are those of the machine this was made on.

How a test resumes the interrupted run
--------------------------------------
1. Copy the whole folder (table, sounds, features and runs), for instance `shutil.copytree(FIXTURE, tmp_path
   / "copy")`. The run must be resumed in a copy, for resuming writes to it and to the cache.
2. With the copy as the working directory, run `made.json`'s `commands.interrupted`:

       python CHECKOUT/cli.py classify clips.csv --model mfcc --cache features --heads svm,logreg --trials 12
           --folds 2 --inner-folds 2 --no-audit --controls none --jobs 1 --out runs/interrupted

3. Compare the four files of runs/uninterrupted with those in runs/interrupted.

A run is known by the `fingerprint` in its run.json. It covers the settings (except jobs, storage and
memory), whether kernels are whole, the fingerprint of the store's extraction, and of the clips the ids,
keys, labels, parts and speakers. An id is the path as the table writes it (relative to the table), a key is
the SHA-256 of the file's bytes. So:

- Paths need not be the same: the absolute ones in run.json (`command.table`, `store`), failures.csv,
  digests.db and the shards are of a folder that is gone, and nothing that is resumed reads them. Only
  `classify --from runs/.../run.json` does: it takes `command.table` and `store` from run.json, so a test of
  it has to write the copy's own paths in there first.
- Times need not be the same: digests.db is a memory of hashes by path, size, mtime and ctime. Files that it
  does not know are hashed again.
- The table must be named clips.csv only because the command says so; its ids and the sounds' bytes must
  stay as they are (a checkout must not convert line ends of *.wav; mark them binary).
- The silent clip is found in failures.csv by its key, not by its path. It has to be there as a file.
- Files whose names begin with a dot (locks) are empty, and may be missing.
- Trials lie in search.db under the name FINGERPRINT/FOLD/LAYER/HEAD. A version that computes another
  fingerprint refuses the folder ("holds another run"), it does not begin anew.

That a run was resumed and not begun anew shows in search.db: the trials of `made.json`'s
`interrupted.trials` keep their `datetime_complete`, and trials of studies with an outcome are not added
again.

What varies
-----------
None of the four compared files holds a time or a path: results.csv has the columns fold, layer, head,
inner_score, uar, accuracy, macro_f1, trials, pruned and params. On one machine all four are the same byte
for byte. On another processor OpenBLAS may take other kernels. Tried with OPENBLAS_CORETYPE: with Haswell
and Zen all bytes are the same; with Nehalem and Sandybridge log_loss and calibration_error in summary.json
differ by less than 1e-8, and nothing else does. Processors with AVX-512 were not at hand. So compare
predictions.csv, splits.json and results.csv byte for byte, and summary.json byte for byte or, where that
differs, with the same names and texts and its numbers to 1e-6.

In runs/interrupted, run.json (seconds, cost, peak_memory, hardware, versions, absolute paths), search.db
(dates) and the figures vary from run to run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
SPEAKERS, CLASSES, TAKES = 6, ("calm", "lively"), 2
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
SEVERAL, MOST = 6, 9  # trials of the second study, of 12, when it is killed
COMPARED = ("summary.json", "predictions.csv", "splits.json", "results.csv")
FROM_CACHE = ["--cache", "features"]
SEARCH = ["--heads", "svm,logreg", "--folds", "2", "--inner-folds", "2", "--jobs", "1"]
CLASSIFY = ["classify", "clips.csv", "--model", "mfcc", *FROM_CACHE, *SEARCH]
LONGER = [*CLASSIFY, "--trials", "12", "--no-audit", "--controls", "none"]
TINY = ["--model", "random:hubert-tiny", *FROM_CACHE, "--device", "cpu"]
COMMANDS = {
    "embed mfcc": ["embed", "clips.csv", "--model", "mfcc", *FROM_CACHE],
    "embed hubert-tiny": ["embed", "clips.csv", *TINY, "--layers", "0-1", "--stats", "mean"],
    "finished": [*CLASSIFY, "--trials", "3", "--out", "runs/finished"],
    "finetuned": [
        *("finetune", "clips.csv", *TINY, "--splits", "runs/finished/splits.json"),
        *("--epochs", "1", "--validation", "none", "--workers", "0", "--out", "runs/finetuned"),
    ],
    "uninterrupted": [*LONGER, "--out", "runs/uninterrupted"],
    "interrupted": [*LONGER, "--out", "runs/interrupted"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make last-version/ with a checkout of the last version.")
    parser.add_argument("old", type=Path, help="Checkout of the last version.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "last-version")
    parser.add_argument("--check-only", action="store_true", help="Only resume a copy and compare.")
    given = parser.parse_args()
    old, out = given.old.resolve(), given.out.resolve()
    if not given.check_only:
        # Made in a folder that is gone afterwards: the paths that are recorded must lead nowhere.
        with tempfile.TemporaryDirectory(prefix="layerprobe-") as made:
            folder = Path(made) / "study"
            make(old, folder)
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(folder, out)
        tell_size(out)
    check(old, out)


def make(old: Path, folder: Path) -> None:
    """Everything in the docstring's list, in `folder`."""
    write_clips(folder)
    for name in ("embed mfcc", "embed hubert-tiny", "finished", "finetuned", "uninterrupted"):
        run(old, COMMANDS[name], folder)
    for file in (folder / "runs" / "uninterrupted").iterdir():
        if file.name not in COMPARED:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    held = interrupt(old, COMMANDS["interrupted"], folder, folder / "runs" / "interrupted")
    for figures in (folder / "runs").glob("*/figures"):
        shutil.rmtree(figures)
    facts = {
        "commit": words(["git", "-C", str(old), "rev-parse", "HEAD"]),
        "python": platform.python_version(),
        "processor": processor(),
        "commands": {name: " ".join(command) for name, command in COMMANDS.items()},
        "interrupted": held,
    }
    (folder / "made.json").write_text(json.dumps(facts, indent=2) + "\n")


def write_clips(folder: Path) -> None:
    """Seeded noisy harmonic tones, of a pitch for each speaker that is a little higher where it is lively."""
    rng = np.random.default_rng(2026)
    (folder / "sounds").mkdir(parents=True)
    rows = [("path", "emotion", "speaker")]
    for speaker in range(SPEAKERS):
        pitch = rng.uniform(100, 250)
        for label in CLASSES:
            for take in range(TAKES):
                seconds = rng.uniform(0.12, 0.16)
                raised = pitch * rng.uniform(0.9, 1.2) * (1.15 if label == "lively" else 1)
                name = f"sounds/s{speaker}-{label}-{take}.wav"
                soundfile.write(folder / name, tone(seconds, raised, rng), RATE, subtype="PCM_16")
                rows.append((name, label, f"s{speaker}"))
    soundfile.write(folder / "sounds/silent.wav", np.zeros(RATE // 10), RATE, subtype="PCM_16")
    rows.append(("sounds/silent.wav", "calm", "s0"))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def tone(seconds: float, pitch: float, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in range(1, 6))
    return 0.1 * wave + 0.03 * rng.standard_normal(len(time))


def run(old: Path, command: Sequence[str], folder: Path) -> None:
    """`cli.py` of the last version to its end, in `folder`."""
    print("cli.py", *command, flush=True)
    done = subprocess.run(
        [sys.executable, str(old / "cli.py"), *command],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)


def interrupt(old: Path, command: Sequence[str], folder: Path, out: Path) -> dict[str, object]:
    """Start `command` and SIGKILL it in its second study; what the run folder then holds.

    It is stopped (SIGSTOP) for each look, so that it is killed in the very state that was seen: with one
    outcome or more, with trials of a study that has none, and not within a transaction of SQLite.
    """
    print("cli.py", *command, "(killed)", flush=True)
    process = subprocess.Popen(
        [sys.executable, str(old / "cli.py"), *command],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            time.sleep(0.005)
            if not any((out / "outcomes").glob("*.npz")):
                continue
            process.send_signal(signal.SIGSTOP)
            held = inside(out)
            if held is not None:
                outcomes, trials = held
                begun = [number for name, number in trials.items() if name not in outcomes]
                if begun and SEVERAL <= begun[0] <= MOST:
                    process.kill()
                    process.wait()
                    assert inside(out) == held
                    return {"outcomes": outcomes, "trials": trials}
            process.send_signal(signal.SIGCONT)
    finally:
        process.kill()
        process.wait()
    raise SystemExit("it ended before it could be killed; run this again")


def inside(out: Path) -> tuple[list[str], dict[str, int]] | None:
    """The studies with an outcome, and each study's finished trials; None where a file is half-written."""
    if any("journal" in file.name or file.name.startswith(".tmp") for file in out.rglob("*")):
        return None
    stems = [file.stem.split("-") for file in sorted((out / "outcomes").glob("*.npz"))]
    try:
        return ["/".join(stem) for stem in stems], count(out)
    except sqlite3.OperationalError:  # locked
        return None


def count(out: Path) -> dict[str, int]:
    """FOLD/LAYER/HEAD → finished trials."""
    numbers: dict[str, int] = {}
    for name, _, _ in dates(out):
        numbers[name] = numbers.get(name, 0) + 1
    return numbers


def dates(out: Path) -> list[tuple[str, int, str]]:
    """(FOLD/LAYER/HEAD, number, when it ended) of each trial in search.db."""
    database = sqlite3.connect(f"file:{out / 'search.db'}?mode=ro", uri=True, timeout=0)
    rows = database.execute(
        "SELECT study_name, number, datetime_complete FROM trials JOIN studies USING (study_id) "
        "ORDER BY trial_id"
    ).fetchall()
    database.close()
    return [(name.partition("/")[2], number, when) for name, number, when in rows]


def check(old: Path, fixture: Path) -> None:
    """Resume a copy elsewhere, of new times, with the last version; fails unless all is as said."""
    with tempfile.TemporaryDirectory(prefix="elsewhere-") as elsewhere:
        copy = Path(elsewhere) / "copy"
        shutil.copytree(fixture, copy, copy_function=shutil.copyfile)
        out = copy / "runs" / "interrupted"
        before = dates(out)
        run(old, COMMANDS["interrupted"], copy)
        assert dates(out)[: len(before)] == before, "trials were made again"
        assert sorted(count(out).values()) == [12, 12, 12, 12], count(out)
        unlike = [
            name
            for name in COMPARED
            if (out / name).read_bytes() != (copy / "runs" / "uninterrupted" / name).read_bytes()
        ]
        assert not unlike, f"differ from those of the uninterrupted run: {unlike}"
        run(old, COMMANDS["finished"], copy)  # is known as finished: no search, nothing written
        assert dates(copy / "runs" / "finished") == dates(fixture / "runs" / "finished")
        run(old, COMMANDS["finetuned"], copy)
        finetuned = [f / "runs" / "finetuned" / "run.json" for f in (copy, fixture)]
        assert finetuned[0].read_bytes() == finetuned[1].read_bytes()
    print(f"resumed with {len(before)} trials of 48, and it came out the same")


def tell_size(folder: Path) -> None:
    sizes = {file: file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    for part in sorted({file.relative_to(folder).parts[:2] for file in sizes}):
        size = sum(n for file, n in sizes.items() if file.relative_to(folder).parts[: len(part)] == part)
        if part[0] != "sounds":
            print(f"{size:8,}  {'/'.join(part)}")
    print(f"{sum(sizes.values()):8,}  in {len(sizes)} files")


def words(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
