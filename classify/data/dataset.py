"""Labels joined to states: the clips that a study uses, and why others are excluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from layerprobe.cache.common.errors import InputError, MissingStatesError
from layerprobe.cache.common.text import format_list
from layerprobe.cache.identity.digests import DATABASE
from layerprobe.cache.identity.moved_files import ADVICE
from layerprobe.cache.store import failures
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import known_keys
from layerprobe.classify.config import TaskName
from layerprobe.classify.data.spellings import unknown_column
from layerprobe.classify.tasks.registry import TASKS
from layerprobe.classify.tasks.task import READ_AS_IS, Reading, Task
from layerprobe.embed.manifest.clips import Clip

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The N clips of a study, in the table's order.

    keys: the store's keys. classes: sorted or in their order; none for numbers. y: (N,) indices into
    `classes`, or numbers, or (N, K) bool or shares, as `task` says. speakers: (N,) indices into
    `speaker_names`, or None where the table has no speakers. partitions: each clip's partition in the table's
    own split, or "". excluded: clip id → why the clip is neither trained on nor tested. note: one line on
    clips whose audio is not on this machine, or "".
    """

    ids: tuple[str, ...]
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    y: np.ndarray
    speaker_names: tuple[str, ...]
    speakers: np.ndarray | None
    partitions: tuple[str, ...]
    excluded: dict[str, str]
    note: str = ""
    task: TaskName = "classification"
    reading: Reading = READ_AS_IS

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rules(self) -> Task:
        """What the task is, in functions."""
        return TASKS[self.task]

    @cached_property
    def members(self) -> np.ndarray:
        """(N, K) bool: the classes of each clip."""
        return self.rules.members(self.y, len(self.classes))

    @cached_property
    def balance(self) -> np.ndarray:
        """What folds are balanced by: (N,) numbers from 0, or (N, K) bool, several at once."""
        return self.rules.strata(self.y)

    @cached_property
    def strata(self) -> np.ndarray:
        """(N,) numbers from 0: `balance`, or the number of each of its different rows."""
        if self.balance.ndim == 1:
            return self.balance
        return np.unique(self.balance, axis=0, return_inverse=True)[1].ravel()


@dataclass(frozen=True, kw_only=True)
class EmbeddedClips:
    """The keys of a table's clips in a store.

    keys: clip id → key, or the error of a file that could not be read. missing: keys without states. failed:
    clip id → why it could not be embedded. note: as in `Dataset`.
    """

    keys: dict[str, str | OSError]
    missing: frozenset[str]
    failed: dict[str, str]
    note: str

    def stored_keys(self, clips: Sequence[Clip], store: FeatureStore) -> list[str]:
        """The keys of some of the clips. Raises MissingStatesError for clips that were never embedded."""
        known = {clip.id: key for clip in clips if isinstance(key := self.keys[clip.id], str)}
        without = [clip for clip in clips if known.get(clip.id) is None or known[clip.id] in self.missing]
        if without:
            unread = sum(isinstance(self.keys[clip.id], OSError) for clip in without)
            command = f"run: {store.extraction.embed_command(store.cache)}"
            if unread == len(without):
                command = f"their audio is not here, nor known to {DATABASE} of the cache; {ADVICE}"
            listed = format_list([clip.id for clip in without], shown=SHOWN)
            raise MissingStatesError(
                f"{len(without)} of {len(clips)} clips have no states of {store.extraction.model}: {listed}",
                keys=[known[clip.id] for clip in without if clip.id in known],
                where=str(store.folder),
                do=command,
            )
        return [known[clip.id] for clip in clips]


def embedded_clips(clips: Sequence[Clip], store: FeatureStore) -> EmbeddedClips:
    """Which clips `store` has states of, by what name, and which could not be embedded."""
    found = known_keys(clips, store.cache)
    missing = frozenset(store.missing([key for key in found.keys if isinstance(key, str)]))
    why = failures.reasons(store.folder, clips, found.keys, elsewhere=found.elsewhere)
    failed = {
        clip.id: f"not embedded: {reason}"
        for clip, key, reason in zip(clips, found.keys, why, strict=True)
        if reason and (not isinstance(key, str) or key in missing)
    }
    keys = dict(zip((clip.id for clip in clips), found.keys, strict=True))
    return EmbeddedClips(keys=keys, missing=missing, failed=failed, note=found.note)


def join_labels(
    clips: Sequence[Clip],
    store: FeatureStore,
    *,
    target: str,
    task: TaskName = "classification",
    reading: Reading | None = None,
    excluded: Mapping[str, str] | None = None,
) -> Dataset:
    """Join `clips` to the states of `store`, with labels as the task reads them.

    excluded: clip id → reason, for clips already known to be unusable. Clips without a label, and clips that
    could not be embedded, are excluded too.

    Raises MissingStatesError for clips that were never embedded; InputError where the target column is
    missing, is not what the task needs or has one value only, or where only some clips have a speaker.
    """
    found = embedded_clips(clips, store)
    data = join_targets(
        clips,
        target=target,
        task=task,
        reading=reading,
        keys=lambda used: found.stored_keys(used, store),
        excluded={**found.failed, **(excluded or {})},
    )
    return replace(data, note=found.note)


def join_unlabelled(clips: Sequence[Clip], store: FeatureStore) -> Dataset:
    """The clips that `store` has states of, all of one class, for work that needs no labels.

    Raises MissingStatesError for clips that were never embedded, InputError where only some have a speaker or
    no clip has states.
    """
    found = embedded_clips(clips, store)
    used = [clip for clip in clips if clip.id not in found.failed]
    if not used:
        raise InputError("no clip has states", do="see `cache info`, or embed other clips")
    names, speakers = number_speakers(used)
    return Dataset(
        ids=tuple(clip.id for clip in used),
        keys=tuple(found.stored_keys(used, store)),
        classes=("",),
        y=np.zeros(len(used), np.int64),
        speaker_names=names,
        speakers=speakers,
        partitions=tuple(clip.split or "" for clip in used),
        excluded=found.failed,
        note=found.note,
    )


def join_targets(
    clips: Sequence[Clip],
    *,
    target: str,
    task: TaskName = "classification",
    reading: Reading | None = None,
    keys: Callable[[Sequence[Clip]], Sequence[str]],
    excluded: Mapping[str, str],
) -> Dataset:
    """The clips that have a label and are not `excluded` (id → reason), with keys from `keys`.

    Raises InputError as `join_labels` does, for labels and speakers.
    """
    reasons = dict(excluded)
    if not any(target in clip.labels for clip in clips):
        columns = sorted({column for clip in clips for column in clip.labels})
        raise unknown_column(target, columns, option="--target", or_else=", or no label in it")
    for clip in clips:
        if not clip.labels.get(target, "").strip():
            reasons.setdefault(clip.id, f"no label in column '{target}'")
    used = [clip for clip in clips if clip.id not in reasons]
    texts = [clip.labels[target].strip() for clip in used]
    labels = TASKS[task].read([clip.id for clip in used], texts, target, reading or READ_AS_IS)
    names, speakers = number_speakers(used)
    return Dataset(
        ids=tuple(clip.id for clip in used),
        keys=tuple(keys(used)),
        classes=labels.classes,
        y=labels.y,
        speaker_names=names,
        speakers=speakers,
        partitions=tuple(clip.split or "" for clip in used),
        excluded={clip.id: reasons[clip.id] for clip in clips if clip.id in reasons},
        task=task,
        reading=reading or READ_AS_IS,
    )


def number_speakers(clips: Sequence[Clip]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Names of the speakers, sorted, and (N,) the index of each clip's; () and None where no clip has one.

    Raises InputError where only some clips have a speaker.
    """
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
