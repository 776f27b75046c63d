"""Patterns of file names, such as `Actor_*/{_}-{_}-{emotion}-{_}-{_}-{_}-{speaker}.wav`.

| in a pattern | matches |
|---|---|
| `{name}` | one or more characters of a folder's or file's name, kept as the field `name` |
| `{name:2}` | exactly two characters |
| `{name:ang|hap}` | one of these texts |
| `{name:##}`, `{name:P#+}` | two digits; P and one or more digits |
| `{_}`, `{_:2}` | the same, not kept |
| `*` | any number of characters, also none |

Everything else stands for itself. A field that occurs twice must have the same text both times. A pattern
describes the end of a path: folders above it do not matter. Without a suffix it matches all sound files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.audio_files import AUDIO_SUFFIXES

# Columns of a table that a file's name cannot give.
RESERVED = frozenset({"id", "path", "file", "start", "end", "split", "corpus"})
_TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|([^{}*]+)|([{}])")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Pattern:
    """A pattern as regular expressions that read a name from both ends, with its named fields in order."""

    text: str
    fields: tuple[str, ...]
    suffix: str
    greedy: re.Pattern[str] = field(repr=False)
    lazy: re.Pattern[str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises InputError for a pattern that is invalid, keeps no field, or has fields that touch."""
        suffix = next((s for s in AUDIO_SUFFIXES if text.lower().endswith(s)), "")
        body = (text[: -len(suffix)] if suffix else text).removeprefix("./")
        fields: list[str] = []
        greedy: list[str] = []
        lazy: list[str] = []
        previous = ""  # the last piece, if its length is not known
        for inside, star, literal, brace in _TOKEN.findall(body):
            if brace:
                raise _invalid(text, f"'{brace}' has no counterpart")
            if literal:
                greedy.append(re.escape(literal))
                lazy.append(re.escape(literal))
                previous = ""
                continue
            piece = star or f"{{{inside}}}"
            long, short, is_open = ("[^/]*", "[^/]*?", True) if star else _expressions(text, inside, fields)
            if is_open and previous:
                raise _invalid(
                    text,
                    f"nothing separates {previous} from {piece}",
                    do="give one a width, such as {speaker:2}",
                )
            previous = piece if is_open else ""
            greedy.append(long)
            lazy.append(short)
        if not fields:
            raise _invalid(text, "it names no field", do="name one, such as {emotion}")
        tail = r"(?:.*/)?"
        return cls(
            text, tuple(fields), suffix, re.compile(tail + "".join(greedy)), re.compile(tail + "".join(lazy))
        )

    def match(self, path: PurePosixPath) -> dict[str, str] | str:
        """The fields of a path, or the reason why it has none: another form, or two possible readings."""
        if self.suffix and path.suffix.lower() != self.suffix:
            return f"does not match {self.text}"
        name = str(path.with_suffix(""))
        first, last = self.greedy.fullmatch(name), self.lazy.fullmatch(name)
        if first is None or last is None:
            return f"does not match {self.text}"
        if first.groupdict() != last.groupdict():
            readings = " or ".join(
                ", ".join(f"{key}={value}" for key, value in match.groupdict().items())
                for match in (last, first)
            )
            return f"can be read in two ways ({readings}); give fields a width or alternatives"
        return first.groupdict()


@dataclass(frozen=True)
class FieldMap:
    """Another text for a field's text: `emotion:05=angry`."""

    field: str
    old: str
    new: str

    @classmethod
    def parse(cls, text: str) -> FieldMap:
        """Parse `FIELD:OLD=NEW`. Raises InputError."""
        match = re.fullmatch(r"([^:=]+):([^=]+)=(.+)", text)
        if not match:
            raise InputError(
                f"'{text}' is no map of a field", do="write FIELD:OLD=NEW, such as emotion:05=angry"
            )
        return cls(match[1], match[2], match[3])


def apply_maps(fields: Mapping[str, str], maps: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The fields with mapped texts; a text without a map stays."""
    return {name: maps.get(name, {}).get(text, text) for name, text in fields.items()}


def _expressions(pattern: str, inside: str, fields: list[str]) -> tuple[str, str, bool]:
    """`{inside}` as the longest and as the shortest reading, and whether its length is open.

    A new name is added to `fields`.
    """
    name, colon, form = inside.partition(":")
    if name != "_" and not _NAME.fullmatch(name):
        raise _invalid(pattern, f"'{name}' is no name of a field", do="use letters, digits and _")
    if name.lower() in RESERVED:
        raise _invalid(pattern, f"'{name}' is a column that a file's name cannot give", do="use another name")
    if name in fields:
        if colon:
            raise _invalid(pattern, f"{{{name}}} has two forms", do="give its form where it is first named")
        return f"(?P={name})", f"(?P={name})", False
    if not colon:
        long, short = "[^/]+", "[^/]+?"
    elif re.fullmatch("[1-9][0-9]{0,2}", form):
        long = short = f"[^/]{{{form}}}"
    elif set("|#") & set(form) and all(form.split("|")) and not set("/*") & set(form):
        texts = [_with_digits(text) for text in sorted(form.split("|"), key=len)]
        long, short = "|".join(reversed(texts)), "|".join(texts)
    else:
        raise _invalid(
            pattern, f"'{{{inside}}}' has no valid form", do="write {name}, {name:2}, {name:##} or {name:a|b}"
        )
    if name != "_":
        fields.append(name)
    opening = "(?:" if name == "_" else f"(?P<{name}>"
    return f"{opening}{long})", f"{opening}{short})", not colon


def _with_digits(text: str) -> str:
    """A text as a regular expression, in which `#` is a digit and `#+` one or more."""
    return re.escape(text).replace(r"\#\+", "[0-9]+").replace(r"\#", "[0-9]")


def _invalid(
    pattern: str, what: str, *, do: str = "write fields as {name}, {name:2} or {name:a|b}"
) -> InputError:
    return InputError(what, where=f"pattern '{pattern}'", do=do)
