"""The methods: layerprobe and each peer on the same clips, model folder and folds."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

import layerprobe
from benchmarks.peers import grid_search
from benchmarks.peers.environments import PACKAGES, python_of
from benchmarks.peers.metering import Measured, failed, measure
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_keys
from layerprobe.embed.manifest.clips import Clip

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BATCH = "8"
MEANS = "mean of all layers"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. states: (clips, layers, columns), or None. uar: of a search.

    layer: of states with one layer, its place among the reference's.
    """

    method: str
    version: str
    gives: str
    measured: Measured
    states: np.ndarray | None = None
    uar: float | None = None
    layer: int | None = None


class Methods:
    """Each method as a function without arguments; what they write is in one folder."""

    def __init__(
        self, clips: list[Clip], model: Path, folder: Path, *, target: str, layer: str, environments: Path
    ) -> None:
        """layer: of the searches. environments: folder of the peers' own, see `environments.py`."""
        self._clips, self._model, self._folder = clips, model.resolve(), folder
        self._environments = environments.resolve()
        self._target, self._layer = target, layer
        self._table, self._job = folder / "clips.csv", folder / "job.json"
        rows = [[str(clip.path.resolve()), clip.labels[target], clip.speaker] for clip in clips]
        with self._table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([["path", target, "speaker"], *rows])
        family = json.loads((model / "config.json").read_text())["model_type"]
        job = {"model": str(self._model), "family": family, "target": target, "rows": rows}
        self._job.write_text(json.dumps({**job, "files": [file for file, *_ in rows]}))

    def embed(self) -> Row:
        """layerprobe, from the table to the store."""
        words = ["--dtype", "float32", "--precision", "fp32", "--cache", "features"]
        measured = self._cli("embed", "--model", str(self._model), *words)
        states = None
        if not measured.failure:
            store, keys = self._store()
            layers = [name for name in store.extraction.layers if name.isdigit()]
            states = np.stack([store.layer(name, keys, stats=["mean"]) for name in layers], axis=1)
        return Row(
            method="layerprobe embed",
            version=layerprobe.__version__,
            gives="mean and std of all layers",
            measured=measured,
            states=states,
        )

    def one_at_a_time(self) -> Row:
        return self._script("transformers, one clip at a time", "transformers_states.py")

    def padded(self) -> Row:
        words = ("--batch", BATCH)
        return self._script("transformers, padded batches", "transformers_states.py", *words)

    def s3prl(self) -> Row:
        return self._peer("s3prl", "upstream, padded batches", MEANS, "--batch", BATCH)

    def nkululeko(self) -> Row:
        gives = f"mean of layer {self._layer}"
        return self._peer("nkululeko", "one clip at a time", gives, "--layer", self._layer)

    def classify(self) -> Row:
        """The search on one layer, with as many trials as the grid has points."""
        words = ["--model", str(self._model), "--cache", "features", "--out", "run", "--layers", self._layer]
        words += ["--heads", "svm", "--target", self._target, "--trials", str(grid_search.POINTS)]
        measured = self._cli("classify", *words, "--no-audit", "--controls", "none", "--no-bundle")
        uar = None
        if not measured.failure:
            summary = json.loads((self._folder / "run" / "summary.json").read_text())
            uar = summary["selected"]["uar"]["value"]
        return Row(
            method="layerprobe classify",
            version=layerprobe.__version__,
            gives=f"SVM on layer {self._layer}, {grid_search.POINTS} trials, nested folds",
            measured=measured,
            uar=uar,
        )

    def grid_search(self) -> Row:
        """On the states of `embed` and the folds of `classify`."""
        gives = f"SVM on layer {self._layer}, {grid_search.POINTS} points, nested folds"
        number_of = version("scikit-learn")
        if not (self._folder / "run" / "splits.json").is_file():
            reason = failed("needs the folds of classify")
            return Row(method="GridSearchCV", version=number_of, gives=gives, measured=reason)
        store, keys = self._store()
        folds = json.loads((self._folder / "run" / "splits.json").read_text())["folds"]
        number = {str(clip.path.resolve()): place for place, clip in enumerate(self._clips)}
        outer, inner = np.full(len(keys), -1), np.full((len(folds), len(keys)), -1)
        for fold in folds:
            outer[[number[id] for id in fold["test"]]] = fold["fold"]
            for part, validation in enumerate(fold["inner"]):
                inner[fold["fold"], [number[id] for id in validation["test"]]] = part
        labels = [clip.labels[self._target] for clip in self._clips]
        y = np.unique(labels, return_inverse=True)[1]
        job, log = self._folder / "grid.npz", self._folder / "grid.log"
        np.savez(job, X=store.layer(self._layer, keys), y=y, outer=outer, inner=inner)
        measured = measure([sys.executable, str(HERE / "grid_search.py"), str(job)], log=log)
        uar = None if measured.failure else float(log.read_text().split()[-1])
        return Row(method="GridSearchCV", version=number_of, gives=gives, measured=measured, uar=uar)

    def _cli(self, command: str, *words: str) -> Measured:
        arguments = [sys.executable, str(ROOT / "cli.py"), command, str(self._table), *words]
        return measure(arguments, log=self._folder / f"{command}.log", cwd=self._folder)

    def _store(self) -> tuple[FeatureStore, list[str]]:
        """The store of `embed`, and the keys of the clips in their order."""
        cache = self._folder / "features"
        (description,) = cache.glob("*/*/extraction.json")
        keys = [key for key in clip_keys(self._clips, cache) if isinstance(key, str)]
        return FeatureStore(description.parent), keys

    def _peer(self, peer: str, how: str, gives: str, *words: str) -> Row:
        """States that a peer computes in an environment of its own."""
        number = PACKAGES[peer][0].partition("==")[2]
        out = self._folder / f"{peer}.npy"
        try:
            python = str(python_of(peer, self._environments))
        except (OSError, subprocess.CalledProcessError) as error:
            reason = failed(f"its packages cannot be installed: {error}")
            return Row(method=f"{peer}, {how}", version=number, gives=gives, measured=reason)
        command = [python, str(HERE / f"{peer}_states.py"), str(self._job), str(out), *words]
        measured = measure(command, log=out.with_suffix(".log"), cwd=self._folder)
        states = None if measured.failure else np.load(out)
        row = Row(method=f"{peer}, {how}", version=number, gives=gives, measured=measured, states=states)
        return row if peer != "nkululeko" else replace(row, layer=int(self._layer))

    def _script(self, method: str, script: str, *words: str) -> Row:
        """States that a script of this folder writes."""
        out = self._folder / f"{Path(script).stem}{''.join(words)}.npy"
        command = [sys.executable, str(HERE / script), str(self._job), str(out), *words]
        measured = measure(command, log=out.with_suffix(".log"), cwd=self._folder)
        return Row(
            method=method,
            version=version("transformers"),
            gives=MEANS,
            measured=measured,
            states=None if measured.failure else np.load(out),
        )
