"""What a head may read instead of the emotion: sound and format that differ from class to class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import chi2_contingency, kruskal

from layerprobe.cache.common.text import format_count, format_percent
from layerprobe.classify.audit.findings import Finding
from layerprobe.classify.audit.measurements import Measurements

EFFECT = 0.06  # η² from which Cohen (1988) calls an effect medium
CHANCE = 0.01  # p below which a difference is taken for more than chance
TIED = 0.1  # Cramér's V between class and format
CLIPPED = 0.001  # share of a clip's samples from which it counts as clipped
OFTEN = 0.05  # share of clips that are clipped

SOUND = {
    "duration": ("seconds", "{:.2f} s", "read the length of a clip"),
    "level": ("level", "{:.1f} dB", "read how near or loud the microphone was"),
    "silence": ("silence", "{:.2f}", "read how the clips were cut"),
    "clipping": ("clipped", "{:.4f}", "read the distortion of the recording"),
}
FORMAT = {"sample rate": "rate", "channels": "channels", "encoding": "encoding"}


def rank_effect(values: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """η² of the Kruskal-Wallis test, (H - k + 1) / (n - k) (Tomczak & Tomczak 2014), and the test's p.

    The share of the variance in ranks that the class explains, 0 to 1. Clips of one speaker are taken for
    independent, so the p is a lower bound. (0, 1) where there is nothing to compare.
    """
    groups = [values[labels == k] for k in np.unique(labels)]
    if len(groups) < 2 or len(values) <= len(groups) or np.ptp(values) == 0:
        return 0.0, 1.0
    h, p = kruskal(*groups)
    return max(0.0, float((h - len(groups) + 1) / (len(values) - len(groups)))), float(p)


def association(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Cramér's V of two nominal variables, corrected for bias (Bergsma 2013), and the χ² test's p.

    0 (unrelated) to 1 (one follows from the other); (0, 1) where either takes a single value.
    """
    rows, i = np.unique(a, return_inverse=True)
    columns, j = np.unique(b, return_inverse=True)
    r, c, n = len(rows), len(columns), len(i)
    if r < 2 or c < 2:
        return 0.0, 1.0
    counts = np.bincount(i * c + j, minlength=r * c).reshape(r, c)
    found = chi2_contingency(counts, correction=False)
    excess = max(0.0, found.statistic / n - (r - 1) * (c - 1) / (n - 1))
    most = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return (min(1.0, float(np.sqrt(excess / most))) if most > 0 else 0.0), float(found.pvalue)


def confound_findings(
    measures: Measurements, labels: np.ndarray, classes: tuple[str, ...]
) -> Iterator[Finding]:
    """One for each measure. labels: (N,) numbers into `classes`, negative for no label."""
    used = (labels >= 0) & (measures.broken == "")
    y = labels[used]
    for item, (name, shape, reads) in SOUND.items():
        yield _sound(item, getattr(measures, name)[used], y, classes, shape=shape, reads=reads)
    for item, name in FORMAT.items():
        yield _format(item, getattr(measures, name)[used], y, classes)


def _sound(
    item: str, values: np.ndarray, y: np.ndarray, classes: tuple[str, ...], *, shape: str, reads: str
) -> Finding:
    effect, p = rank_effect(values, y)
    middle = np.mean if item == "clipping" else np.median  # most clips are not clipped at all
    told = ", ".join(f"{classes[k]} {shape.format(middle(values[y == k]))}" for k in np.unique(y))
    told = f"{'Mean' if item == 'clipping' else 'Median'} by class: {told or 'none'}"
    numbers = {"effect": effect, "p": p}
    if item == "clipping":
        numbers["clips"] = float((values >= CLIPPED).sum())
    if effect >= EFFECT and p < CHANCE:
        return Finding(
            item=f"{item} by class",
            verdict="look",
            told=f"{told}; the class explains {format_percent(effect)} of the ranks. Emotion may do that, but a "
            f"head may also {reads}: compare with what {item} alone would score.",
            numbers=numbers,
        )
    if item == "clipping" and numbers["clips"] >= OFTEN * max(1, len(values)):
        return Finding(
            item=f"{item} by class",
            verdict="look",
            told=f"{format_count(int(numbers['clips']), 'clip')} of {len(values):,} are clipped, alike in all "
            "classes: they were recorded too loud, which hides what tells emotions apart.",
            numbers=numbers,
        )
    return Finding(
        item=f"{item} by class",
        verdict="fine",
        told=f"{told}; the class explains {format_percent(effect)} of the ranks.",
        numbers=numbers,
    )


def _format(item: str, values: np.ndarray, y: np.ndarray, classes: tuple[str, ...]) -> Finding:
    strength, p = association(values, y)
    kinds = np.unique(values)
    numbers = {"kinds": float(len(kinds)), "cramers_v": strength, "p": p}
    if len(kinds) <= 1:
        told = f"The same in all clips: {kinds[0]}." if len(kinds) else "No clip could be read."
        return Finding(item=f"{item} by class", verdict="fine", told=told, numbers=numbers)
    told = "; ".join(f"{classes[k]} {_shares(values[y == k])}" for k in np.unique(y))
    if strength >= TIED and p < CHANCE:
        return Finding(
            item=f"{item} by class",
            verdict="look",
            told=f"It differs by class (Cramér's V {strength:.2f}): {told}. A head may read the format: "
            "convert all clips alike, or leave the odd ones out.",
            numbers=numbers,
        )
    told = f"{len(kinds)} kinds, spread over the classes (Cramér's V {strength:.2f}): {told}."
    return Finding(item=f"{item} by class", verdict="fine", told=told, numbers=numbers)


def _shares(values: np.ndarray) -> str:
    """`16000 75.0 %, 8000 25.0 %`."""
    kinds, counts = np.unique(values, return_counts=True)
    return ", ".join(
        f"{kind} {format_percent(n / len(values))}" for kind, n in zip(kinds, counts, strict=True)
    )
