"""How a corpus is made up: speakers and clips per class, words that give a class away, misfiled clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from layerprobe.cache.common.text import format_count, format_list, format_percent
from layerprobe.classify.audit.confounds import association
from layerprobe.classify.audit.findings import Finding
from layerprobe.classify.audit.table import Table

FEW_SPEAKERS = 5  # of a class; fewer cannot be in every one of five folds
HALF = 0.5  # of all clips, held by DOMINANT speakers
DOMINANT = 3
ONE_CLASS = 0.2  # share of clips by speakers of whom only one class is there
IMBALANCE = 3.0  # largest class over smallest
FEW_CLIPS = 10
TELLING = 0.3  # Cramér's V between text and class
FILED = 0.9  # share of clips whose folder is named like a label, above which the others are misfiled


def composition_findings(table: Table) -> Iterator[Finding]:
    """One for each item that the table's columns allow to look at."""
    yield _speakers_by_class(table)
    if np.any(table.speakers >= 0):
        yield _clips_by_speaker(table)
    yield _class_sizes(table)
    if table.text is not None and len(table.classes) > 1:
        yield _text_by_class(table)
    yield _folders(table)


def _speakers_by_class(table: Table) -> Finding:
    """Whether each class is spoken by enough speakers, and speakers by more than one class."""
    item = "speakers by class"
    known = (table.speakers >= 0) & (table.labels >= 0)
    if not known.any():
        return Finding(
            item=item,
            verdict="look",
            told="The table names no speakers, so nobody can say whether known or new voices are tested: "
            "add a speaker column.",
        )
    pairs = np.unique(np.stack([table.speakers[known], table.labels[known]]), axis=1)
    per_class = np.bincount(pairs[1], minlength=len(table.classes))
    single = np.bincount(pairs[0], minlength=table.speakers.max() + 1) == 1
    bound = float(single[table.speakers[known]].mean())
    numbers = {"fewest": float(per_class.min()), "clips_of_one_class_speakers": bound}
    told = ", ".join(f"{name} {n}" for name, n in zip(table.classes, per_class.tolist(), strict=True))
    unnamed = int((table.speakers < 0).sum())
    if bound > ONE_CLASS and len(table.classes) > 1:
        return Finding(
            item=item,
            verdict="look",
            told=f"{format_percent(bound)} of the clips are of speakers of whom only one class is there: who tells "
            "the voices apart tells the classes apart. Compare with a probe for the speaker.",
            numbers=numbers,
        )
    if per_class.min() < FEW_SPEAKERS or unnamed:
        few = " With so few, a class's score is that of single voices: say so beside it."
        gap = (
            f" {format_count(unnamed, 'clip')} without a speaker, who may be on both sides: name every one."
            if unnamed
            else ""
        )
        return Finding(
            item=item,
            verdict="look",
            told=f"Speakers per class: {told}.{few if per_class.min() < FEW_SPEAKERS else ''}{gap}",
            numbers=numbers,
        )
    return Finding(item=item, verdict="fine", told=f"Speakers per class: {told}.", numbers=numbers)


def _clips_by_speaker(table: Table) -> Finding:
    """Whether few speakers hold most of the clips."""
    names = Counter(clip.speaker for clip in table.clips if clip.speaker)
    clips = names.total()
    top = names.most_common(DOMINANT)
    share = sum(n for _, n in top) / clips
    effective = clips**2 / sum(n**2 for n in names.values())  # Kish 1965: as many equal ones
    told = ", ".join(f"{name} ({n:,})" for name, n in top)
    numbers = {"speakers": float(len(names)), "top_share": share, "effective_speakers": effective}
    if len(names) > 2 * DOMINANT and share >= HALF:
        return Finding(
            item="clips by speaker",
            verdict="look",
            told=f"{format_count(len(top), 'speaker')} of {len(names)} hold {format_percent(share)} of the clips: {told}. "
            f"The corpus weighs as much as {effective:.0f} equal speakers: read the mean over speakers too.",
            numbers=numbers,
        )
    least = min(names.values())
    return Finding(
        item="clips by speaker",
        verdict="fine",
        told=f"{format_count(len(names), 'speaker')}, from {least:,} to {top[0][1]:,} clips each.",
        numbers=numbers,
    )


def _class_sizes(table: Table) -> Finding:
    """How uneven the classes are."""
    sizes = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
    told = ", ".join(f"{name} {n:,}" for name, n in zip(table.classes, sizes.tolist(), strict=True))
    unlabelled = int((table.labels < 0).sum())
    ratio = float(sizes.max() / sizes.min()) if len(sizes) else 0.0
    numbers = {"largest_to_smallest": ratio, "unlabelled": float(unlabelled)}
    faults = []
    if len(sizes) < 2:
        faults.append(
            f"column '{table.target}' holds {format_count(len(sizes), 'class')}: nothing to tell apart"
        )
    elif ratio > IMBALANCE:
        faults.append(f"the largest class has {ratio:.1f} times the clips of the smallest: read UAR, since "
                      "accuracy flatters the largest")  # fmt: skip
    if len(sizes) and sizes.min() < FEW_CLIPS:
        faults.append(f"{format_count(int(sizes.min()), 'clip')} of a class are too few to score it")
    if unlabelled:
        faults.append(f"{format_count(unlabelled, 'clip')} without a label are left out")
    if faults:
        told = f"Clips per class: {told or 'none'}; {'; '.join(faults)}."
        return Finding(item="class sizes", verdict="look", told=told, numbers=numbers)
    return Finding(item="class sizes", verdict="fine", told=f"Clips per class: {told}.", numbers=numbers)


def _text_by_class(table: Table) -> Finding:
    """Whether the words alone give the class away."""
    known = (table.texts >= 0) & (table.labels >= 0)
    often = np.bincount(table.texts[known], minlength=int(table.texts.max(initial=0)) + 1) > 1
    known &= often[table.texts] & (table.texts >= 0)
    strength, p = association(table.texts[known], table.labels[known])
    numbers = {"cramers_v": strength, "p": p}
    if strength >= TELLING:
        return Finding(
            item="text by class",
            verdict="look",
            told=f"Text and class go together (Cramér's V {strength:.2f}): a head may read the words, not "
            "the voice. Compare with a probe for the text.",
            numbers=numbers,
        )
    told = f"Texts are spread over the classes (Cramér's V {strength:.2f})."
    return Finding(item="text by class", verdict="fine", told=told, numbers=numbers)


def _folders(table: Table) -> Finding:
    """Clips in a folder named otherwise than the label that names the other clips' folders."""
    columns = list(dict.fromkeys(name for clip in table.clips for name in clip.labels))
    wrong: dict[str, list[str]] = {}
    for column in [*columns, "speaker"]:
        named = [clip.speaker if column == "speaker" else clip.labels.get(column) for clip in table.clips]
        other = [
            f"{clip.id} ({column} {value}, folder {clip.path.parent.name})"
            for clip, value in zip(table.clips, named, strict=True)
            if value is not None and clip.path.parent.name != value
        ]
        if other and len(other) <= (1 - FILED) * len(table.clips):
            wrong[column] = other
    evidence = tuple(line for lines in wrong.values() for line in lines)
    numbers = {"misfiled": float(len(evidence))}
    if not evidence:
        told = "No clip lies in a folder that contradicts its labels."
        return Finding(item="folders", verdict="fine", told=told, numbers=numbers)
    lie = "1 clip lies" if len(evidence) == 1 else f"{len(evidence):,} clips lie"
    return Finding(
        item="folders",
        verdict="look",
        told=f"{lie} in a folder named otherwise than the table says: {format_list(evidence)}. The table is "
        "trusted: listen, and mend the table or the folder.",
        numbers=numbers,
        evidence=evidence,
    )
