"""Confounds: properties of sound and file format that differ by class, which a head may use instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import chi2_contingency, kruskal
from scipy.stats.contingency import crosstab

from layerprobe.cache.common.text import format_count, format_percent
from layerprobe.classify.audit.measurements import Measurements
from layerprobe.classify.audit.table import Finding

MEDIUM_EFFECT = 0.06  # η² (Cohen 1988)
SIGNIFICANT = 0.01  # p below which a difference is more than chance
FORMAT_ASSOCIATION = 0.1  # Cramér's V between class and format
CLIPPED = 0.001  # share of a clip's samples from which it counts as clipped
OFTEN_CLIPPED = 0.05  # share of clips

SOUND = {  # item: (field of Measurements, format, what a head may use)
    "duration": ("seconds", "{:.2f} s", "the length of a clip"),
    "level": ("level", "{:.1f} dB", "the distance or gain of the microphone"),
    "silence": ("silence", "{:.2f}", "how the clips were cut"),
    "clipping": ("clipped", "{:.4f}", "the distortion of the recording"),
}
FORMAT = {"sample rate": "rate", "channels": "channels", "encoding": "encoding"}


def rank_effect(values: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """η² of the Kruskal-Wallis test, (H - k + 1) / (n - k) (Tomczak & Tomczak 2014), and the test's p.

    η², 0 to 1, is the share of the variance in ranks that the class explains. The test takes clips of one
    speaker as independent, so p is a lower bound. (0, 1) where there is nothing to compare.
    """
    groups = [values[labels == k] for k in np.unique(labels)]
    if len(groups) < 2 or len(values) <= len(groups) or np.ptp(values) == 0:
        return 0.0, 1.0
    h, p = kruskal(*groups)
    return max(0.0, float((h - len(groups) + 1) / (len(values) - len(groups)))), float(p)


def association(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Cramér's V of two nominal variables, bias-corrected (Bergsma 2013), and the p of the χ² test.

    0 (independent) to 1 (one determines the other); (0, 1) where either takes a single value.
    """
    (rows, columns), counts = crosstab(a, b)
    r, c, n = len(rows), len(columns), len(a)
    if r < 2 or c < 2:
        return 0.0, 1.0
    test = chi2_contingency(counts, correction=False)
    phi_squared = max(0.0, test.statistic / n - (r - 1) * (c - 1) / (n - 1))
    largest = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return (min(1.0, float(np.sqrt(phi_squared / largest))) if largest > 0 else 0.0), float(test.pvalue)


def confound_findings(
    measures: Measurements, labels: np.ndarray, classes: tuple[str, ...]
) -> Iterator[Finding]:
    """One finding for each property. labels: (N,) indices into `classes`, negative for no label."""
    used = (labels >= 0) & (measures.broken == "")
    y = labels[used]
    for item, (name, form, cue) in SOUND.items():
        yield _sound(item, getattr(measures, name)[used], y, classes, form=form, cue=cue)
    for item, name in FORMAT.items():
        yield _format(f"{item} by class", getattr(measures, name)[used], y, classes)


def _sound(
    name: str, values: np.ndarray, y: np.ndarray, classes: tuple[str, ...], *, form: str, cue: str
) -> Finding:
    item = f"{name} by class"
    effect, p = rank_effect(values, y)
    numbers = {"effect": effect, "p": p}
    average: Callable[[np.ndarray], Any]
    average, statistic = np.median, "Median"
    if name == "clipping":
        average, statistic = np.mean, "Mean"  # the median clip has no clipped sample
        numbers["clips"] = float((values >= CLIPPED).sum())
    by_class = ", ".join(f"{classes[k]} {form.format(average(values[y == k]))}" for k in np.unique(y))
    message = (
        f"{statistic} by class: {by_class or 'none'}; the class explains "
        f"{format_percent(effect)} of the variance in ranks."
    )
    if effect >= MEDIUM_EFFECT and p < SIGNIFICANT:
        message += (
            f" Emotion may cause that, but a head may also use {cue}: compare with what {name} alone would "
            "score."
        )
        return Finding(item, "look", message, numbers)
    if numbers.get("clips", 0) >= OFTEN_CLIPPED * max(1, len(values)):
        message = (
            f"{format_count(int(numbers['clips']), 'clip')} of {len(values):,} are clipped, equally in all "
            "classes: they were recorded too loud, which hides differences between emotions."
        )
        return Finding(item, "look", message, numbers)
    return Finding(item, "fine", message, numbers)


def _format(item: str, values: np.ndarray, y: np.ndarray, classes: tuple[str, ...]) -> Finding:
    strength, p = association(values, y)
    kinds = np.unique(values)
    numbers = {"kinds": float(len(kinds)), "cramers_v": strength, "p": p}
    if len(kinds) <= 1:
        message = f"The same in all clips: {kinds[0]}." if len(kinds) else "No clip could be read."
        return Finding(item, "fine", message, numbers)
    by_class = "; ".join(f"{classes[k]} {_shares(values[y == k])}" for k in np.unique(y))
    if strength >= FORMAT_ASSOCIATION and p < SIGNIFICANT:
        message = (
            f"It differs by class (Cramér's V {strength:.2f}): {by_class}. A head may recognise the format: "
            "convert all clips to one, or leave the exceptions out."
        )
        return Finding(item, "look", message, numbers)
    message = f"{len(kinds)} kinds, spread over the classes (Cramér's V {strength:.2f}): {by_class}."
    return Finding(item, "fine", message, numbers)


def _shares(values: np.ndarray) -> str:
    """`16000 75.0 %, 8000 25.0 %`."""
    kinds, counts = np.unique(values, return_counts=True)
    shares = counts / len(values)
    return ", ".join(f"{kind} {format_percent(share)}" for kind, share in zip(kinds, shares, strict=True))
