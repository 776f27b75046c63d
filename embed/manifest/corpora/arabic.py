"""Known Arabic corpora as data; see `known`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from layerprobe.embed.manifest.clips import Clip
from layerprobe.embed.manifest.corpora.entry import SEE_PAGE, KnownCorpus


def _declared_speakers(folder: Path, clips: Sequence[Clip]) -> list[str]:
    """A note where BAVED's README counts other speakers than there are."""
    readme = folder / "README.md"
    text = readme.read_text("utf-8", "replace") if readme.is_file() else ""
    declared = re.search(r"Number of speakers:\W*(\d+)", text)
    speakers = len({clip.speaker for clip in clips})
    if not declared or int(declared[1]) == speakers:
        return []
    return [f"there are {speakers} speakers, the README says {declared[1]}"]


ARABIC: tuple[KnownCorpus, ...] = (
    KnownCorpus(
        name="baved",
        title="Basic Arabic Vocal Emotions Dataset",
        patterns=("{speaker:#+}-{gender:m|f}-{age:#+}-{word:0|1|2|3|4|5|6}-{emotion:0|1|2}-{record:#+}",),
        example="5/12-f-21-5-2-105.wav (speaker-gender-age-word-level-record)",
        folder="{word}",
        remarks=_declared_speakers,
        sizes_vary=True,
        clips=1935,
        speakers=61,
        citation="Aouf 2019",
        licence=SEE_PAGE,
        source="https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset",
    ),
    KnownCorpus(
        name="eyase",
        title="Egyptian Arabic Semi-natural Emotion speech",
        patterns=(
            "{speaker:fm#+|ml#+}_{emotion:ang|hap|neu|sad}({record:#+})",
            "{speaker:fm#+|ml#+}_{emotion:ang|hap|neu|sad} ({record:#+})",
        ),
        example="fm01_hap (3).wav (speaker, emotion, number)",
        derived={"gender": lambda fields: fields["speaker"][0]},
        sizes_vary=True,
        clips=579,
        speakers=6,
        citation="Abdel-Hamid 2020, Speech Communication 122, 19-30",
        licence="on request",
        source="https://doi.org/10.1016/j.specom.2020.04.005",
    ),
    KnownCorpus(
        name="ksuemotions",
        title="King Saud University Emotions",
        patterns=("D{_:#+}E{emotion:00|01|02|03|04|05}{speaker:P#+}S{sentence:#+}T{trial:#+}",),
        example="data/SPEECH/Phase_1/E05/D05E05P003S18T02.flac (E emotion, P speaker, S sentence, T trial)",
        maps={
            "emotion": {
                **{"00": "neutral", "01": "happiness", "02": "sadness"},
                **{"03": "surprise", "04": "questioning", "05": "anger"},
            }
        },
        above={"phase": r"Phase_(\d+)"},
        folder="E{emotion}",
        sizes_vary=True,
        speakers=23,
        citation="Meftah et al. 2017, LDC2017S12",
        licence="of the Linguistic Data Consortium, paid",
        source="https://catalog.ldc.upenn.edu/LDC2017S12",
    ),
)
