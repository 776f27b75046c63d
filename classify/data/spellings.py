"""Labels and speakers that are written in two ways: `anna` and `Anna`, `1` and `1.0`, `01` and `1`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from layerprobe.cache.common.text import format_list


def look_alikes(names: Iterable[str | None]) -> list[tuple[str, ...]]:
    """Names that differ only by case, space, Unicode form, invisible letters or the zeros of a number."""
    groups: dict[str, list[str]] = {}
    for name in sorted({name for name in names if name}):
        groups.setdefault(_folded(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def spelling_notes(*, target: str, labels: Iterable[str | None], speakers: Iterable[str | None]) -> list[str]:
    """One line for each kind of names of which some look alike. target: what the labels are called."""
    notes = []
    for kind, names in ((f"labels of '{target}'", labels), ("speakers", speakers)):
        if groups := [describe(group) for group in look_alikes(names)]:
            notes.append(
                f"{kind} that look alike count as different: {format_list(groups)}; spell each in one way"
            )
    return notes


def describe(group: Iterable[str]) -> str:
    """`'anna' and 'Anna'`, with escapes where the letters look the same."""
    names = list(group)
    visible = {_visible(name) for name in names}
    texts = [f"'{name}'" if len(visible) == len(names) else ascii(name) for name in names]
    return " and ".join(texts)


def _visible(name: str) -> str:
    """A name as it is printed: composed, without letters that have no width."""
    composed = unicodedata.normalize("NFKC", name)
    return " ".join("".join(letter for letter in composed if unicodedata.category(letter) != "Cf").split())


def _folded(name: str) -> str:
    text = unicodedata.normalize("NFKC", _visible(name).casefold())
    text = re.sub(r"(?<![\d.,])0+(?=\d)", "", text)  # leading zeros of each number
    return re.sub(r"([+-]?\d+)[.,]0+|([+-]?\d+[.,]\d*[1-9])0+", r"\1\2", text) if _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+[.,]\d+", text) is not None
