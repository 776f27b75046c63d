"""Labels and speakers that are written in two ways: `anna` and `Anna`, `1` and `1.0`, `01` and `1`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import format_list, visible

# Letters of other scripts that print like Latin ones, in lower case and as capitals.
_CONFUSABLE = str.maketrans(
    "аеіјорсухѕАВЕЅІЈКМНОРСТУХΑΒΕΖΗΙΚΜΝΟΡΤΥΧον", "aeijopcyxsABESIJKMHOPCTYXABEZHIKMNOPTYXov"
)
NEAR = 0.8  # similarity of names, by difflib, from which one is suggested for the other
_SEPARATORS = re.compile(r"[\s_.'’-]+(?=[^\W\d_])|(?<=[^\W\d_])[\s_.'’-]+")  # next to a letter
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?")
_MARKS = re.compile("[\u0640\u064b-\u0652]")  # Arabic's tatweel and signs of vowels, which are often left out


def look_alikes(names: Iterable[str | None]) -> list[tuple[str, ...]]:
    """Names that differ only by case, space, hyphens, Unicode form, invisible letters or a number's form."""
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


def unknown_column(name: str, columns: Sequence[str], *, option: str = "", or_else: str = "") -> InputError:
    """The error of a column that a table lacks, with the one that was meant if a name is much like it.

    columns: in the order in which they are listed. option: that names a column, such as `--target`. or_else:
    what else may be wrong.
    """
    by_folded = {_folded(column): column for column in reversed(columns)}
    near = get_close_matches(_folded(name), by_folded, n=1, cutoff=NEAR)
    do = f"choose {f'{option} ' if option else ''}from {', '.join(columns) or 'none'}"
    if near:
        do = f"did you mean '{by_folded[near[0]]}'? {do}"
    return InputError(f"no column '{name}' in the table{or_else}", do=do)


def describe(group: Iterable[str]) -> str:
    """`'anna' and 'Anna'`, with escapes where the letters look the same."""
    names = list(group)
    visible = {_visible(name) for name in names}
    texts = [f"'{name}'" if len(visible) == len(names) else ascii(name) for name in names]
    return " and ".join(texts)


def _visible(name: str) -> str:
    return visible(name).translate(_CONFUSABLE)


def _folded(name: str) -> str:
    text = unicodedata.normalize("NFKC", _visible(name).casefold())
    text = _MARKS.sub("", text.replace("i\u0307", "i").replace("ı", "i"))  # Turkish
    text = "".join(str(digit) if (digit := unicodedata.decimal(each, -1)) >= 0 else each for each in text)
    if _NUMBER.fullmatch(text):
        return repr(float(text.replace(",", ".")) + 0.0)  # without the sign of -0.0
    text = re.sub(r"(?<=[^\W\d_]) (?=\d)|(?<=\d) (?=[^\W\d_])", "", _SEPARATORS.sub(" ", text).strip())
    return re.sub(r"(?<![\d.,])0+(?=\d)", "", text)  # leading zeros of each number
