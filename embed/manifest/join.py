"""Several tables of clips as one, for work on more than one corpus."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layerprobe.cache.common.errors import InputError, ManifestError, Problem
from layerprobe.embed.manifest.clips import Clip, read_manifest

COLUMN = "corpus"  # the column that says which table a clip comes from


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """One label renamed: `old` becomes `new` in `column`, of one corpus or (None) of all."""

    column: str
    old: str
    new: str
    corpus: str | None = None

    @classmethod
    def parse(cls, text: str) -> LabelMap:
        """Read `[CORPUS/]COLUMN:OLD=NEW`, such as `eyase/emotion:hap=2`. Raises InputError."""
        told = re.fullmatch(r"(?:([^/:=]+)/)?([^/:=]+):([^=]+)=(.+)", text)
        if not told:
            raise InputError(f"'{text}' is no label map", do="write [CORPUS/]COLUMN:OLD=NEW")
        return cls(corpus=told[1], column=told[2], old=told[3], new=told[4])

    def __str__(self) -> str:
        return f"{self.corpus + '/' if self.corpus else ''}{self.column}:{self.old}={self.new}"


def join_tables(
    tables: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    maps: Sequence[LabelMap] = (),
) -> list[Clip]:
    """The clips of all tables, each with its table's name in the label `corpus`.

    Ids and speakers get that name in front (`baved:12`), so that none of two corpora collide. Labels are
    renamed as `maps` say, each label once: a map's result is not mapped again.

    names: one a table; the tables' file names without the suffix if not given.

    Raises InputError, and ManifestError for a faulty table or for maps that fit no clip.
    """
    corpora = [table.stem for table in tables] if names is None else list(names)
    if len(corpora) != len(tables):
        raise InputError(f"{len(tables)} tables but {len(corpora)} names")
    twice = [name for name in dict.fromkeys(corpora) if corpora.count(name) > 1]
    if twice:
        raise InputError(f"two tables are called '{twice[0]}'", do="give each a name of its own")
    unused = set(maps)
    clips: list[Clip] = []
    for name, table in zip(corpora, tables, strict=True):
        renamed = {(m.column, m.old): m for m in maps if m.corpus is None}
        renamed |= {(m.column, m.old): m for m in maps if m.corpus == name}
        for clip in read_manifest(table, must_exist=False):  # labels and paths only
            if COLUMN in clip.labels:
                raise InputError(
                    f"has a column '{COLUMN}' already", where=str(table), do="join the single tables"
                )
            used = {column: m for column, old in clip.labels.items() if (m := renamed.get((column, old)))}
            unused -= set(used.values())
            clips.append(
                replace(
                    clip,
                    id=f"{name}:{clip.id}",
                    speaker=None if clip.speaker is None else f"{name}:{clip.speaker}",
                    labels={COLUMN: name, **clip.labels, **{column: m.new for column, m in used.items()}},
                )
            )
    if unused:
        idle = [Problem(None, f"no clip has what '{one}' renames") for one in maps if one in unused]
        raise ManifestError(", ".join(map(str, tables)), idle)
    return clips
