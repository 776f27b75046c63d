"""What a clip is and what an extraction is: the two identities the store trusts.

A clip is the SHA-256 of its file's bytes and, where given, its segment: a renamed or copied file is the same
clip, a changed file is another one. An extraction is everything that decides the numbers in a state.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import ForeignStoreError, StoreError
from layerprobe.cache.common.text import program

TABLE_BYTES = 256  # of a clip's key, path, counts and checksums, rounded up
SLACK = 1.02  # chunk padding and HDF5's own records

LAYER_CONVENTION = 1  # raised whenever a layer's name comes to mean another tensor
REPAIR = f"restore it, or run `{program()} cache verify --repair` and embed again: no state is lost"
FRAME = "frame"  # the one "statistic" of a store that keeps every frame


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Everything that decides a clip's states.

    `model` is only what the person typed; it and `notes` (library versions, seeds, sizes, for people to read)
    are recorded beside the states but are no part of the fingerprint.
    """

    model: str
    revision: str  # hub commit; empty for a local folder, random weights and acoustic features
    weights: str  # SHA-256 over the tensors' files, of the tensors where they are random; "none": no tensors
    architecture: str  # SHA-256 of the model's configuration or of the acoustic settings
    normalise: bool  # each clip brought to zero mean and unit variance before the model
    layers: tuple[str, ...]
    widths: tuple[int, ...]  # D of each layer
    stats: tuple[str, ...]  # ("mean", "std"), or ("frame",) where every frame is kept
    dtype: str  # storage: "float16" or "float32"
    precision: str  # computation: "fp32", "bf16" or "fp16"
    window: float  # seconds above which a clip is cut into windows
    rate: int  # samples a second the model hears
    frame_rate: float  # frames a second
    receptive_field: float  # seconds of sound one frame of the front end sees
    convention: int = LAYER_CONVENTION
    notes: dict[str, Any] = field(default_factory=dict, compare=False)

    def fingerprint(self) -> str:
        """16 hex digits that change with whatever changes a state, and with nothing else."""
        return _fingerprint(asdict(self))

    def width(self, layer: str) -> int:
        return self.widths[self.layers.index(layer)]

    def bytes_per_row(self) -> int:
        """Bytes of one row (a clip, or with every frame kept a frame) over all layers."""
        size = 2 if self.dtype == "float16" else 4
        return sum(self.widths) * len(self.stats) * size

    def embed_command(self, cache: Path, *, table: Path | str = "TABLE") -> str:
        """What a person would type to compute such states of a table's clips."""
        numbers = [layer for layer in self.layers if layer.isdecimal()]
        span = [f"{numbers[0]}-{numbers[-1]}"] if len(numbers) > 1 else numbers
        steps = [int(b) - int(a) for a, b in pairwise(numbers)]
        layers = [*(span if set(steps) <= {1} else numbers), *(x for x in self.layers if x not in numbers)]
        words = [*program().split(), "embed", str(table), "--model", self.model, "--cache", str(cache)]
        words += ["--revision", self.revision] if self.revision else []
        words += ["--seed", str(self.notes["seed"])] if self.notes.get("seed") else []
        words += ["--layers", ",".join(layers)]
        words += ["--frames"] if self.stats == (FRAME,) else ["--stats", ",".join(self.stats)]
        words += ["--dtype", self.dtype, "--precision", self.precision, "--window", f"{self.window:g}"]
        return shlex.join(words)

    def to_json(self) -> str:
        return json.dumps({"fingerprint": self.fingerprint(), **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Extraction:
        """Read `extraction.json`. Raises StoreError where it is damaged or its fingerprint does not fit,
        ForeignStoreError where it fits, but not the fields that this version knows."""
        try:
            raw = json.loads(text)
            told, found = raw.pop("fingerprint"), _fingerprint(raw)
            if found != told:
                raise StoreError(
                    f"says fingerprint {told}, but its settings give {found}", where=where, do=REPAIR
                )
            known = {f.name for f in fields(cls)}
            if set(raw) != known:
                odd = ", ".join(sorted(set(raw) ^ known))
                what = f"written by another version of layerprobe (fields: {odd})"
                raise ForeignStoreError(what, where=where, do="use that one, or embed into a fresh cache")
            for name in ("layers", "widths", "stats"):
                raw[name] = tuple(raw[name])
            return cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"not a readable extraction record ({error})", where=where, do=REPAIR) from error


def _fingerprint(fields: Mapping[str, Any]) -> str:
    keyed = {k: v for k, v in fields.items() if k not in {"model", "notes"}}
    text = json.dumps(keyed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def estimate_bytes(extraction: Extraction, *, clips: int, seconds: float) -> int:
    """Bytes that so many clips, `seconds` long together, take on disk."""
    rows = ceil(seconds * extraction.frame_rate) if extraction.stats == (FRAME,) else clips
    return ceil(SLACK * (rows * extraction.bytes_per_row() + clips * TABLE_BYTES))
