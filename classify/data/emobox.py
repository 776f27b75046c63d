"""The folds of the EmoBox benchmark (Ma et al. 2024), matched to a table by file names.

A checkout has data/NAME/fold_K/NAME_train_fold_K.jsonl, …_test_fold_K.jsonl and for some corpora
…_valid_fold_K.jsonl; each line is an object with the clip's `wav` and its class `emo`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_count, format_list
from layerprobe.classify.config import EMOBOX
from layerprobe.embed.manifest.audio_files import AUDIO_SUFFIXES
from layerprobe.embed.manifest.clips import Clip

_LAYOUT = "data/NAME/fold_1/NAME_test_fold_1.jsonl"
_ADVICE = "give emobox:FOLDER with a checkout of EmoBox"
_CONTEXT = 6  # parts of a path above a file's name that may tell two files of the same name apart


@dataclass(frozen=True, kw_only=True)
class EmoBoxFolds:
    """Folds of one corpus of the benchmark, as ids of a table's clips.

    folder: of the corpus in the checkout. train, test: for each fold; train includes validation, which lists
    those of the fold that the benchmark sets aside, and is empty where it does not. deviations: why a score
    on this table is not comparable with the benchmark's.
    """

    folder: Path
    train: list[list[str]]
    test: list[list[str]]
    validation: list[list[str]]
    deviations: tuple[str, ...]


def find_corpus(folder: Path, clips: Sequence[Clip]) -> Path:
    """The corpus of a checkout that the table holds; or `folder` itself if it is one's.

    Raises InputError where none or several match.
    """
    corpora = _corpora(folder)
    if corpora == [folder]:
        return folder
    index = _Index(clips)
    shares = {}
    for corpus in corpora:
        wavs = [wav for wav, _ in _entries(_fold_file(corpus, "test", 1))]
        found = sum(bool(index.find(wav)) for wav in wavs)
        if found:
            shares[corpus] = found / len(wavs)
    if not shares:
        names = format_list([corpus.name for corpus in corpora], shown=5)
        what = f"none of its corpora ({names}) has files named like {clips[0].file}"
        raise InputError(what, where=str(folder), do="make the table from the corpus's own file names")
    best = max(shares, key=lambda corpus: shares[corpus])
    alike = [corpus for corpus in shares if shares[corpus] > shares[best] / 2]
    if len(alike) > 1:
        names = format_list([f"{corpus.name} ({shares[corpus]:.0%})" for corpus in alike])
        do = f"name one: {EMOBOX}{best}"
        raise InputError(
            f"several of its corpora have files of this table: {names}", where=str(folder), do=do
        )
    return best


def read_folds(folder: Path, clips: Sequence[Clip], *, target: str | None = None) -> EmoBoxFolds:
    """The folds of a corpus, of which `folder` is the one in the checkout.

    target: label column to compare with the benchmark's classes. Raises InputError for files that are missing
    or damaged, and for names that could mean several clips.
    """
    index = _Index(clips)
    numbers = sorted(int(path.name.removeprefix("fold_")) for path in _fold_folders(folder))
    parts: dict[str, list[list[str]]] = {"train": [], "valid": [], "test": []}
    classes: dict[str, str] = {}  # clip id → class of the benchmark
    unmatched: set[str] = set()
    ambiguous: dict[str, list[str]] = {}
    for number in numbers:
        for part, folds in parts.items():
            ids: list[str] = []
            for wav, emotion in _entries(_fold_file(folder, part, number), optional=part == "valid"):
                found = index.find(wav)
                if len(found) == 1:
                    ids.append(found[0])
                    classes[found[0]] = emotion
                elif found:
                    ambiguous[wav] = found
                else:
                    unmatched.add(wav)
            folds.append(list(dict.fromkeys(ids)))
    if ambiguous:
        wav, found = next(iter(ambiguous.items()))
        what = (
            f"{format_count(len(ambiguous), 'name')} could each mean several clips, such as "
            f"{PurePosixPath(wav).name}: {format_list(found)}"
        )
        raise InputError(what, where=str(folder), do="leave copies out of the table")
    validation = parts["valid"]
    return EmoBoxFolds(
        folder=folder,
        train=[train + valid for train, valid in zip(parts["train"], validation, strict=True)],
        test=parts["test"],
        validation=validation,
        deviations=(
            *_unmatched(unmatched, classes, clips),
            *_class_deviations(classes, clips, target, _label_map(folder)),
        ),
    )


class _Index:
    """Clips by the ends of their paths: by letters and digits, whatever stands between them."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._ids: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for clip in clips:
            # A segment is named by its id, a complete file by its path.
            whole = clip.start is None and clip.end is None
            words, stem = _words(str(clip.path.absolute()) if whole else clip.id)
            for length in range(stem, min(len(words), stem + _CONTEXT) + 1):
                self._ids[words[-length:]].add(clip.id)

    def find(self, wav: str) -> list[str]:
        """Ids of the clips whose paths have the longest end in common with `wav`, at least a file's name."""
        words, stem = _words(wav)
        for length in range(min(len(words), stem + _CONTEXT), stem - 1, -1):
            if ids := self._ids.get(words[-length:]):
                return sorted(ids)
        return []


def _words(path: str) -> tuple[tuple[str, ...], int]:
    """The words of a path without suffix, and how many of them are the file's name."""
    text = unicodedata.normalize("NFC", path.replace("\\", "/")).casefold()
    suffix = PurePosixPath(text).suffix
    text = text.removesuffix(suffix) if suffix in AUDIO_SUFFIXES else text
    words = tuple(re.findall(r"[^\W_]+", text))
    return words, max(1, len(re.findall(r"[^\W_]+", text.rpartition("/")[2])))


def _corpora(folder: Path) -> list[Path]:
    if _fold_folders(folder):
        return [folder]
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder), do=_ADVICE)
    data = folder / "data" if (folder / "data").is_dir() else folder
    corpora = sorted(path for path in data.iterdir() if path.is_dir() and _fold_folders(path))
    if not corpora:
        found = format_list(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise InputError(f"looked for {_LAYOUT}, found {found}", where=str(folder), do=_ADVICE)
    return corpora


def _fold_folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("fold_*") if path.name.removeprefix("fold_").isdecimal()]


def _fold_file(corpus: Path, part: str, number: int) -> Path:
    return corpus / f"fold_{number}" / f"{corpus.name}_{part}_fold_{number}.jsonl"


def _entries(file: Path, *, optional: bool = False) -> Iterator[tuple[str, str]]:
    """(wav, emo) of each line. optional: a missing file has none."""
    if optional and not file.exists():
        return
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "it is not UTF-8").lower()
        raise InputError(f"cannot be read ({reason})", where=str(file), do=_ADVICE) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry: Any = json.loads(line)
            wav, emotion = entry["wav"], entry["emo"]
            if not (isinstance(wav, str) and isinstance(emotion, str)):
                raise TypeError("'wav' or 'emo' is no text")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"line {number} is not an entry with 'wav' and 'emo'"
            raise InputError(what, where=str(file), do="check the file out again") from error
        yield wav, emotion


def _label_map(folder: Path) -> Mapping[str, str]:
    """The benchmark's merging of classes, if it has one for this corpus."""
    file = folder / "label_map.json"
    if not file.exists():
        return {}
    try:
        mapping = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in mapping.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError("is not a map of labels", where=str(file), do="check the file out again") from error


def _unmatched(unmatched: set[str], classes: Mapping[str, str], clips: Sequence[Clip]) -> Iterator[str]:
    if unmatched:
        names = format_list(sorted(PurePosixPath(wav).name for wav in unmatched))
        total = len(unmatched) + len(classes)
        yield f"{len(unmatched):,} of its {total:,} recordings are not in the table ({names})"
    if absent := [clip.id for clip in clips if clip.id not in classes]:
        yield (
            f"{len(absent):,} of {format_count(len(clips), 'clip')} of the table are in none of its folds, "
            f"and are left out ({format_list(absent)})"
        )


def _class_deviations(
    classes: Mapping[str, str], clips: Sequence[Clip], target: str | None, merged: Mapping[str, str]
) -> Iterator[str]:
    """Classes of the benchmark that are several in the table, or the other way round."""
    if target is None:
        return
    ours, theirs = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for clip in clips:
        label = clip.labels.get(target)
        if label and clip.id in classes:
            name = merged.get(classes[clip.id], classes[clip.id])
            theirs[name].add(label)
            ours[label].add(name)
    for name, labels in sorted(theirs.items()):
        if len(labels) > 1:
            yield f"its class '{name}' is {format_list(sorted(labels), shown=5)} in the table"
    for label, names in sorted(ours.items()):
        if len(names) > 1:
            yield f"'{label}' of the table is {format_list(sorted(names), shown=5)} there"
