"""Labels joined to states: which clips a study uses, and why the others are kept out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cache import failures
from cache.digests import Digests
from cache.errors import InputError, MissingStatesError
from cache.identity import FRAME, clip_key
from cache.store import FeatureStore
from embed.manifest import Clip

NOT_A_LABEL = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})  # as tables write "no label"
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The N clips of a study, in the table's order.

    keys: the store's keys. y: (N,) class numbers into `classes`, which are sorted. speakers: (N,) numbers
    into `speaker_names`, or None where the table has no speaker. parts: (N,) the table's own split, or "".
    excluded: clip id → why that clip is in neither training nor test.
    """

    ids: tuple[str, ...]
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    y: np.ndarray
    speaker_names: tuple[str, ...]
    speakers: np.ndarray | None
    parts: tuple[str, ...]
    excluded: dict[str, str]

    def __len__(self) -> int:
        return len(self.ids)


def join(
    clips: Sequence[Clip], store: FeatureStore, *, target: str, excluded: Mapping[str, str] | None = None
) -> Dataset:
    """Join `clips` to the states of `store`.

    excluded: clip id → reason, for clips that are already known to be unusable.

    A clip without a label, or that could not be embedded, is kept out and listed. Raises MissingStatesError
    for clips that were never embedded, InputError where the target column is missing or holds fewer than two
    classes, or where only some clips have a speaker.
    """
    if store.extraction.stats == (FRAME,):
        raise InputError(
            "holds every frame, not statistics over frames",
            where=str(store.folder),
            do="embed again without --frames",
        )
    failed = {clip.id: f"not embedded: {reason}" for clip, reason in _failed(clips, store)}
    known = {**failed, **(excluded or {})}
    return labelled(clips, target=target, keys=lambda used: _keys(used, store), excluded=known)


def labelled(
    clips: Sequence[Clip],
    *,
    target: str,
    keys: Callable[[Sequence[Clip]], Sequence[str]],
    excluded: Mapping[str, str],
) -> Dataset:
    """The clips that have a label and are not `excluded` (id → reason); `keys` names the sound of each.

    Raises InputError as `join` does, for what concerns labels and speakers.
    """
    out = dict(excluded)
    if not any(target in clip.labels for clip in clips):
        columns = sorted({column for clip in clips for column in clip.labels})
        raise InputError(
            f"no column '{target}' in the table", do=f"choose --target from {', '.join(columns) or 'none'}"
        )
    for clip in clips:
        if clip.labels.get(target, "").strip().lower() in NOT_A_LABEL:
            out.setdefault(clip.id, f"no label in column '{target}'")
    used = [clip for clip in clips if clip.id not in out]
    named = keys(used)
    labels = [clip.labels[target].strip() for clip in used]
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        only = f"only '{classes[0]}'" if classes else "no label at all"
        raise InputError(f"column '{target}' holds {only}", do="a classifier needs two classes or more")
    names, speakers = _speakers(used)
    return Dataset(
        ids=tuple(clip.id for clip in used),
        keys=tuple(named),
        classes=classes,
        y=np.searchsorted(np.array(classes), np.array(labels)),
        speaker_names=names,
        speakers=speakers,
        parts=tuple(clip.split or "" for clip in used),
        excluded={clip.id: out[clip.id] for clip in clips if clip.id in out},
    )


def _failed(clips: Sequence[Clip], store: FeatureStore) -> list[tuple[Clip, str]]:
    known = failures.read(store.folder)
    found = ((clip, known.get((str(clip.path.resolve()), clip.start, clip.end))) for clip in clips)
    return [(clip, reason) for clip, reason in found if reason is not None]


def _keys(clips: Sequence[Clip], store: FeatureStore) -> list[str]:
    cache = store.folder.parent.parent
    with Digests(cache) as digests:
        found = digests.of([clip.path for clip in clips])
    keys: dict[str, str] = {}
    for clip in clips:
        digest = found[clip.path]
        if isinstance(digest, str):
            keys[clip.id] = clip_key(digest, start=clip.start, end=clip.end)
    absent = set(store.missing(list(keys.values())))
    without = [clip for clip in clips if keys.get(clip.id) is None or keys[clip.id] in absent]
    if without:
        first = ", ".join(clip.id for clip in without[:SHOWN])
        more = f" and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
        raise MissingStatesError(
            f"{len(without)} of {len(clips)} clips have no states of {store.extraction.model}: {first}{more}",
            keys=[keys[clip.id] for clip in without if clip.id in keys],
            where=str(store.folder),
            do=f"run: python cli.py embed TABLE --model {store.extraction.model} --cache {cache}",
        )
    return [keys[clip.id] for clip in clips]


def _speakers(clips: Sequence[Clip]) -> tuple[tuple[str, ...], np.ndarray | None]:
    named = [clip.speaker or "" for clip in clips]
    if not any(named):
        return (), None
    if not all(named):
        count = Counter(named)[""]
        first = next(clip.id for clip in clips if not clip.speaker)
        raise InputError(
            f"{count} of {len(clips)} clips have no speaker, first {first}",
            do="give every clip a speaker, or none and --split random",
        )
    names = tuple(sorted(set(named)))
    return names, np.searchsorted(np.array(names), np.array(named))
