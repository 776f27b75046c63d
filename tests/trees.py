"""Small trees of empty files in the layouts of the corpora."""

from __future__ import annotations

from pathlib import Path

EYASE_EMOTIONS = ("ang", "hap", "neu", "sad")


def touch(root: Path, *names: str) -> Path:
    """Empty files below `root`, folders made as needed. Returns `root`."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return root


def baved_names(*, speakers: int = 2, words: int = 2) -> list[str]:
    """Every speaker says every word once in each of the levels 0, 1 and 2."""
    utterances = [
        (speaker, word, level) for speaker in range(speakers) for word in range(words) for level in range(3)
    ]
    return [
        f"{w}/{s}-{'mf'[s % 2]}-{20 + s}-{w}-{level}-{i}.wav" for i, (s, w, level) in enumerate(utterances)
    ]


def eyase_names(*, speakers: tuple[str, ...] = ("fm01", "ml02"), takes: int = 2) -> list[str]:
    """Flat, with the space and the brackets of the original."""
    return [f"{s}_{e} ({take + 1}).wav" for s in speakers for e in EYASE_EMOTIONS for take in range(takes)]


def ksuemotions_names(*, speakers: tuple[int, ...] = (1, 3), sentences: int = 2) -> list[str]:
    """Two phases, six emotions, one trial."""
    return [
        f"data/SPEECH/Phase_{phase}/E{e:02}/D05E{e:02}P{p:03}S{s:02}T01.flac"
        for phase in (1, 2)
        for e in range(6)
        for p in speakers
        for s in range(sentences)
    ]


def anad_names(*, videos: int = 3, pieces: int = 2) -> list[str]:
    """Segments in the doubled folders that the archive unpacks to, next to complete videos and turns."""
    segments = [
        f"1sec_segmented_part1/1sec_segmented_part1/V{v}_1 ({i}).wav"
        for v in range(1, videos + 1)
        for i in range(1, pieces + 1)
    ]
    return [*segments, "V1.wav", "caller_Reciever_turns/V1_1.wav"]


def anad_table(root: Path, emotions: dict[str, str]) -> Path:
    """`ANAD.csv` with its oddities: a quotation mark after the names, a space after `Emotion`."""
    rows = [f"{name}',{emotion},1,0.5" for name, emotion in emotions.items()]
    table = root / "ANAD.csv"
    table.write_text("\n".join(["name,Emotion ,Type,F0", *rows]) + "\n")
    return table
