"""RAVDESS, speech and song: audio files, and videos of the same takes with and without sound."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from layerprobe.embed.manifest.corpora.entry import KnownCorpus

EMOTIONS = {
    **{"01": "neutral", "02": "calm", "03": "happiness", "04": "sadness"},
    **{"05": "anger", "06": "fear", "07": "disgust", "08": "surprise"},
}
VIDEO, SILENT_VIDEO, AUDIO = "01", "02", "03"  # how a name begins


def without_sound_of_its_own(paths: Iterable[PurePosixPath]) -> dict[PurePosixPath, str]:
    """Videos without sound, and of takes that are there as audio, with the reason why they are no clips."""
    ordered = sorted(paths)
    audio = {path.stem[2:]: path for path in ordered if path.stem.startswith(AUDIO)}
    found = {}
    for path in ordered:
        if path.stem.startswith(SILENT_VIDEO):
            found[path] = "is a video without sound"
        elif path.stem.startswith(VIDEO) and path.stem[2:] in audio:
            found[path] = f"is a video of the same take as {audio[path.stem[2:]]}"
    return found


def _corpus(name: str, title: str, channel: str, *, clips: int, speakers: int, example: str) -> KnownCorpus:
    """channel: 01 is speech, 02 is song."""
    start = f"{{_:{VIDEO}|{SILENT_VIDEO}|{AUDIO}}}-{channel}"
    return KnownCorpus(
        name=name,
        title=f"Ryerson Audio-Visual Database of Emotional Speech and Song: {title}",
        patterns=(start + "-{emotion:2}-{intensity:2}-{text:2}-{repetition:2}-{speaker:2}",),
        example=f"Actor_12/{example}.wav (emotion third, actor last)",
        maps={"emotion": EMOTIONS, "intensity": {"01": "normal", "02": "strong"}},
        unusable=without_sound_of_its_own,
        clips=clips,
        speakers=speakers,
        citation="Livingstone and Russo 2018, PLoS ONE 13(5), e0196391",
        licence="CC BY-NC-SA 4.0",
        source="https://zenodo.org/records/1188976",
    )


RAVDESS = (
    _corpus("ravdess", "speech", "01", clips=1440, speakers=24, example="03-01-05-01-02-01-12"),
    _corpus("ravdess-song", "song", "02", clips=1012, speakers=23, example="03-02-05-01-02-01-12"),
)
