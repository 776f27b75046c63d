"""Corpora on disk as clips, without opening any audio.

`CORPORA` has the reader of each. `known` and `arabic` hold corpora as data: add one there (`entry` says what
it has). `patterns` parses patterns of file names, `reading` applies them to a folder. `labelled` reads
corpora whose labels are in files, `readers` ANAD and plain folders; `described` says what these are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from layerprobe.embed.manifest.corpora.described import DESCRIBED
from layerprobe.embed.manifest.corpora.entry import Description
from layerprobe.embed.manifest.corpora.known import KNOWN
from layerprobe.embed.manifest.corpora.labelled import LABELLED
from layerprobe.embed.manifest.corpora.readers import CORPORA as _READERS
from layerprobe.embed.manifest.corpora.readers import Corpus

CORPORA: dict[str, Callable[[Path], Corpus]] = {
    **{entry.name: entry.read for entry in KNOWN},
    **LABELLED,
    **_READERS,
}
"""The reader of each corpus by the name of its command: a folder gives a `Corpus`, or InputError."""

__all__ = ["CORPORA", "DESCRIBED", "KNOWN", "Corpus", "Description"]
