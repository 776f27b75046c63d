"""What an extraction is: everything that determines the numbers in a state, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import ForeignStoreError, MissingStatesError, StoreError
from layerprobe.cache.common.text import program

TABLE_BYTES = 256  # of a clip's key, path, counts and checksums, rounded up
OVERHEAD = 1.02  # chunk padding and HDF5's own records

LAYER_CONVENTION = 1  # increased whenever a layer's name comes to mean another tensor
REPAIR = f"restore it, or run `{program()} cache verify --repair` and embed again: no state is lost"
LATER = ("context", "channels", "track")  # fields of an extraction that earlier versions did not record
EACH_CHANNEL = "each"  # of `channels`: every channel of a file is a clip of its own
FRAME = "frame"  # the only "statistic" of a store that contains every frame


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Everything that determines a clip's states.

    `model` (the name that the user typed) and `notes` (library versions, seeds, sizes, for information) are
    stored too, but are not part of the fingerprint.
    """

    model: str
    revision: str  # hub commit; empty for a local folder, random weights and acoustic features
    weights: (
        str  # SHA-256 of the weight files, or of the tensors where they are random; "none" without weights
    )
    architecture: str  # SHA-256 of the model's configuration or of the acoustic settings
    normalise: bool  # each clip is scaled to zero mean and unit variance before the model
    layers: tuple[str, ...]
    widths: tuple[int, ...]  # D of each layer
    stats: tuple[str, ...]  # ("mean", "std"), or ("frame",) where every frame is stored
    dtype: str  # storage: "float16" or "float32"
    precision: str  # computation: "fp32", "bf16" or "fp16"
    window: float  # seconds above which a clip is cut into windows
    rate: int  # sampling rate of the model's input in Hz
    frame_rate: float  # frames per second
    receptive_field: float  # seconds of audio that one frame of the front end sees
    context: str = ""  # of Whisper encoders: a clip and the silence after it, or the seconds that are filled
    channels: str = "mean"  # of each file: their mean, the number of one, or each as a clip
    track: int = 1  # audio track of each file
    convention: int = LAYER_CONVENTION
    notes: dict[str, Any] = field(default_factory=dict, compare=False)

    def fingerprint(self) -> str:
        """16 hex digits that change with anything that changes a state, and with nothing else."""
        return _fingerprint(self._recorded())

    def _recorded(self) -> dict[str, Any]:
        """The fields as they are recorded: later ones only where they are not the default."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER or value != getattr(Extraction, name)
        }

    def width(self, layer: str) -> int:
        return self.widths[self.layers.index(layer)]

    def stat_columns(self, layer: str, stats: Sequence[str] | None, *, where: str) -> list[int]:
        """Indices of the statistics, by default of all. where: the store's folder, for the error.

        Raises MissingStatesError if the layer or one of them is not stored.
        """
        if layer not in self.layers:
            what = f"layer {layer!r} is not held, only {', '.join(self.layers)}"
            raise MissingStatesError(what, keys=[], where=where)
        requested = self.stats if stats is None else tuple(stats)
        if not requested or set(requested) - set(self.stats):
            what = f"statistics requested: {', '.join(requested) or 'none'}; held: {', '.join(self.stats)}"
            raise MissingStatesError(what, keys=[], where=where)
        return [self.stats.index(stat) for stat in requested]

    def bytes_per_row(self) -> int:
        """Bytes of one row (a clip, or a frame where every frame is stored) over all layers."""
        size = 2 if self.dtype == "float16" else 4
        return sum(self.widths) * len(self.stats) * size

    def embed_command(self, cache: Path, *, table: Path | str = "TABLE") -> str:
        """The command line that computes states of this extraction for a table's clips."""
        numbers = [layer for layer in self.layers if layer.isdecimal()]
        steps = {int(b) - int(a) for a, b in pairwise(numbers)}
        numbered = [f"{numbers[0]}-{numbers[-1]}"] if steps == {1} else numbers
        layers = [*numbered, *(layer for layer in self.layers if layer not in numbers)]
        words = [*program().split(), "embed", str(table), "--model", self.model, "--cache", str(cache)]
        words += ["--revision", self.revision] if self.revision else []
        words += ["--seed", str(self.notes["seed"])] if self.notes.get("seed") else []
        words += ["--layers", ",".join(layers)]
        words += ["--frames"] if self.stats == (FRAME,) else ["--stats", ",".join(self.stats)]
        words += ["--dtype", self.dtype, "--precision", self.precision, "--window", f"{self.window:g}"]
        # A number is an option of `embed`; anything else is its default.
        words += ["--whisper-context", self.context] if self.context[:1].isdecimal() else []
        words += ["--channels", self.channels] if self.channels != Extraction.channels else []
        words += ["--track", str(self.track)] if self.track != Extraction.track else []
        return shlex.join(words)

    def _check_types(self) -> None:
        """Raise ValueError unless layers, widths, statistics and type are what can be stored."""
        names = (self.model, *self.layers, *self.stats)
        if not (self.layers and self.stats and all(isinstance(name, str) and name for name in names)):
            raise ValueError("model, layers and stats are not names")
        if any("/" in name or name in (".", "..") for name in self.layers):
            raise ValueError("a layer's name is a path")
        if not all(isinstance(width, int) and width > 0 for width in self.widths):
            raise ValueError("widths are not positive numbers")
        if len(self.widths) != len(self.layers) or self.dtype not in ("float16", "float32"):
            raise ValueError(f"{len(self.layers)} layers, {len(self.widths)} widths, dtype {self.dtype}")

    def to_json(self) -> str:
        return json.dumps({"fingerprint": self.fingerprint(), **self._recorded()}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Extraction:
        """Parse `extraction.json`.

        Raises ForeignStoreError for an intact record with fields that this version does not know or misses,
        StoreError for a damaged one.
        """
        try:
            raw = json.loads(text)
            recorded, actual = raw.pop("fingerprint"), _fingerprint(raw)
            if actual != recorded:
                what = f"says fingerprint {recorded}, but its settings give {actual}"
                raise StoreError(what, where=where, do=REPAIR)
            unknown = {*LATER, *raw} ^ {f.name for f in fields(cls)}
            if unknown:
                what = f"written by another version of layerprobe (fields: {', '.join(sorted(unknown))})"
                raise ForeignStoreError(what, where=where, do="use that one, or embed into a fresh cache")
            for name in ("layers", "widths", "stats"):
                raw[name] = tuple(raw[name])
            extraction = cls(**raw)
            extraction._check_types()
            return extraction
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"not a readable extraction record ({error})", where=where, do=REPAIR) from error


def _fingerprint(fields: Mapping[str, Any]) -> str:
    identity = {name: value for name, value in fields.items() if name not in {"model", "notes"}}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def estimate_bytes(extraction: Extraction, *, clips: int, seconds: float) -> int:
    """Bytes on disk of this many clips with this many seconds in total."""
    rows = ceil(seconds * extraction.frame_rate) if extraction.stats == (FRAME,) else clips
    return ceil(OVERHEAD * (rows * extraction.bytes_per_row() + clips * TABLE_BYTES))


def model_slug(model: str) -> str:
    """A folder name for any model name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", model).strip("-.")[-80:] or "model"
