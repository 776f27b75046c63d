"""Corpora whose labels are in files beside the recordings, one module each.

`iemocap` reads evaluation files, `meld` and `msp_podcast` CSV tables; `label_tables` has what they share.
No audio is opened. A copy without label files, or without their recordings, is refused with what was looked
for and what was found; other differences become notes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from layerprobe.embed.manifest.corpora.labelled.iemocap import iemocap
from layerprobe.embed.manifest.corpora.labelled.meld import meld
from layerprobe.embed.manifest.corpora.labelled.msp_podcast import msp_podcast
from layerprobe.embed.manifest.corpora.readers import Corpus

LABELLED: dict[str, Callable[[Path], Corpus]] = {
    "iemocap": iemocap,
    "meld": meld,
    "msp-podcast": msp_podcast,
}
