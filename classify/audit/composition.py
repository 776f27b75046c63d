"""Composition of a corpus: speakers and clips per class, texts that predict the class, misfiled clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from layerprobe.cache.common.text import format_count, format_list, format_percent
from layerprobe.classify.audit.confounds import association
from layerprobe.classify.audit.table import Finding, Table, label_columns
from layerprobe.classify.data.spellings import describe, look_alikes

FEW_SPEAKERS = 5  # of a class; fewer cannot be in every one of five folds
TOP_SPEAKERS = 3
DOMINANT = 0.5  # share of all clips, from TOP_SPEAKERS
SINGLE_CLASS = 0.2  # share of clips by speakers with clips of one class only
IMBALANCE = 3.0  # largest class over smallest
FEW_CLIPS = 10
PREDICTIVE = 0.3  # Cramér's V between text and class
FILED = 0.9  # share of clips whose folder is named like a label, above which the others are misfiled


def composition_findings(table: Table) -> Iterator[Finding]:
    """One finding for each check that the table's columns allow."""
    yield _spellings(table)
    yield _speakers_by_class(table)
    if np.any(table.speakers >= 0):
        yield _clips_by_speaker(table)
    yield _class_sizes(table)
    if table.text is not None and len(table.classes) > 1:
        yield _text_by_class(table)
    yield _folders(table)


def _spellings(table: Table) -> Finding:
    """Whether a speaker or a class may be written in two ways."""
    kinds = {table.target: table.classes, "speaker": [clip.speaker for clip in table.clips]}
    evidence = tuple(
        f"{kind} {describe(group)}" for kind, names in kinds.items() for group in look_alikes(names)
    )
    item, numbers = "spellings", {"alike": float(len(evidence))}
    if not evidence:
        return Finding(item, "fine", "No two speakers or labels look alike.", numbers)
    message = (
        f"Names that look alike count as different: {format_list(evidence)}. One speaker may be in training "
        "and in test, and one class may count as two: spell each name in one way."
    )
    return Finding(item, "look", message, numbers, evidence)


def _speakers_by_class(table: Table) -> Finding:
    """Whether every class has enough speakers, and speakers have more than one class."""
    item = "speakers by class"
    known = (table.speakers >= 0) & (table.labels >= 0)
    if not known.any():
        message = "The table names no speakers, so no split can keep them apart: add a speaker column."
        return Finding(item, "look", message)
    speakers, labels = np.unique(np.stack([table.speakers[known], table.labels[known]]), axis=1)
    per_class = np.bincount(labels, minlength=len(table.classes))
    single = np.bincount(speakers, minlength=table.speakers.max() + 1) == 1
    share = float(single[table.speakers[known]].mean())
    numbers = {"fewest": float(per_class.min()), "clips_of_one_class_speakers": share}
    if share > SINGLE_CLASS and len(table.classes) > 1:
        message = (
            f"{format_percent(share)} of the clips are from speakers with clips of one class only: "
            "recognising the speaker is enough to know the class. Compare with a probe for the speaker."
        )
        return Finding(item, "look", message, numbers)
    message = f"Speakers per class: {_per_class(table, per_class)}."
    unnamed = int((table.speakers < 0).sum())
    few = per_class.min() < FEW_SPEAKERS
    if few:
        message += " A score over so few speakers is about these individuals: report it as such."
    if unnamed:
        clips = format_count(unnamed, "clip")
        message += f" {clips} without a speaker, who may be in training and test: name every speaker."
    return Finding(item, "look" if few or unnamed else "fine", message, numbers)


def _clips_by_speaker(table: Table) -> Finding:
    """Whether few speakers have most of the clips. Effective number: as many equal speakers (Kish 1965)."""
    item = "clips by speaker"
    speakers = Counter(clip.speaker for clip in table.clips if clip.speaker)
    total, top = speakers.total(), speakers.most_common(TOP_SPEAKERS)
    share = sum(clips for _, clips in top) / total
    effective = total**2 / sum(clips**2 for clips in speakers.values())
    numbers = {"speakers": float(len(speakers)), "top_share": share, "effective_speakers": effective}
    if len(speakers) > 2 * TOP_SPEAKERS and share >= DOMINANT:
        names = ", ".join(f"{name} ({clips:,})" for name, clips in top)
        message = (
            f"{format_count(len(top), 'speaker')} of {len(speakers)} have {format_percent(share)} of the "
            f"clips: {names}. It is worth {effective:.0f} equal speakers: read the mean over speakers too."
        )
        return Finding(item, "look", message, numbers)
    clips = f"from {min(speakers.values()):,} to {top[0][1]:,} clips each"
    return Finding(item, "fine", f"{format_count(len(speakers), 'speaker')}, {clips}.", numbers)


def _class_sizes(table: Table) -> Finding:
    """How balanced the classes are."""
    sizes = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
    unlabelled = int((table.labels < 0).sum())
    ratio = float(sizes.max() / sizes.min()) if len(sizes) else 0.0
    message = f"Clips per class: {_per_class(table, sizes) or 'none'}"
    problems = []
    if len(sizes) < 2:
        classes = format_count(len(sizes), "class")
        problems.append(f"column '{table.target}' has {classes}: there is nothing to classify")
    elif ratio > IMBALANCE:
        problems.append(
            f"the largest class has {ratio:.1f} times the clips of the smallest: read UAR, since accuracy "
            "favours the largest"
        )
    if len(sizes) and sizes.min() < FEW_CLIPS:
        problems.append(f"{format_count(int(sizes.min()), 'clip')} of a class are too few to score it")
    if unlabelled:
        problems.append(f"{format_count(unlabelled, 'clip')} without a label are left out")
    return Finding(
        "class sizes",
        "look" if problems else "fine",
        f"{'; '.join([message, *problems])}.",
        {"largest_to_smallest": ratio, "unlabelled": float(unlabelled)},
    )


def _text_by_class(table: Table) -> Finding:
    """Whether the text alone predicts the class. Texts that occur once say nothing about that."""
    item = "text by class"
    known = (table.texts >= 0) & (table.labels >= 0)
    repeated = np.bincount(table.texts[known], minlength=int(table.texts.max(initial=0)) + 1) > 1
    known &= repeated[table.texts]
    strength, p = association(table.texts[known], table.labels[known])
    numbers = {"cramers_v": strength, "p": p}
    if strength >= PREDICTIVE:
        message = (
            f"Text and class are associated (Cramér's V {strength:.2f}): a head may recognise the words "
            "instead of the voice. Compare with a probe for the text."
        )
        return Finding(item, "look", message, numbers)
    return Finding(item, "fine", f"Texts are spread over the classes (Cramér's V {strength:.2f}).", numbers)


def _folders(table: Table) -> Finding:
    """Clips in a folder that does not match the label after which most folders are named."""
    item = "folders"
    evidence: list[str] = []
    for column in [*label_columns(table.clips), "speaker"]:
        values = [clip.speaker if column == "speaker" else clip.labels.get(column) for clip in table.clips]
        mismatches = [
            f"{clip.id} ({column} {value}, folder {clip.path.parent.name})"
            for clip, value in zip(table.clips, values, strict=True)
            if value is not None and clip.path.parent.name != value
        ]
        if len(mismatches) <= (1 - FILED) * len(table.clips):
            evidence += mismatches
    numbers = {"misfiled": float(len(evidence))}
    if not evidence:
        return Finding(item, "fine", "No clip is in a folder that contradicts its labels.", numbers)
    clips = "1 clip is" if len(evidence) == 1 else f"{len(evidence):,} clips are"
    message = (
        f"{clips} in a folder that contradicts the table: {format_list(evidence)}. The table is used as it "
        "is: listen, and correct the table or the folder."
    )
    return Finding(item, "look", message, numbers, tuple(evidence))


def _per_class(table: Table, counts: np.ndarray) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in zip(table.classes, counts.tolist(), strict=True))
