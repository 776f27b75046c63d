"""Several tables of clips as one, for work on more than one corpus."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layerprobe.cache.common.errors import InputError, ManifestError, Problem
from layerprobe.embed.manifest.clips import Clip, read_manifest

COLUMN = "corpus"  # the label that names the table a clip comes from


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """One label renamed: `old` becomes `new` in `column`, of one corpus or (None) of all."""

    column: str
    old: str
    new: str
    corpus: str | None = None

    @classmethod
    def parse(cls, text: str) -> LabelMap:
        """Parse `[CORPUS/]COLUMN:OLD=NEW`, such as `eyase/emotion:hap=2`. Raises InputError."""
        match = re.fullmatch(r"(?:([^/:=]+)/)?([^/:=]+):([^=]+)=(.+)", text)
        if not match:
            raise InputError(f"'{text}' is no label map", do="write [CORPUS/]COLUMN:OLD=NEW")
        return cls(corpus=match[1], column=match[2], old=match[3], new=match[4])

    def __str__(self) -> str:
        return f"{self.corpus + '/' if self.corpus else ''}{self.column}:{self.old}={self.new}"


def join_tables(
    tables: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    maps: Sequence[LabelMap] = (),
) -> list[Clip]:
    """The clips of all tables, each with its table's name in the label `corpus`.

    That name is put in front of ids and speakers (`baved:12`), so that those of two corpora differ. `maps`
    rename each label at most once: the result of a map is not mapped again.

    names: of the tables; by default their file names without suffix.

    Raises InputError, and ManifestError for a faulty table or for maps that fit no clip.
    """
    corpora = [table.stem for table in tables] if names is None else list(names)
    if len(corpora) != len(tables):
        raise InputError(f"{len(tables)} tables but {len(corpora)} names")
    repeated = [name for name in dict.fromkeys(corpora) if corpora.count(name) > 1]
    if repeated:
        raise InputError(f"two tables are called '{repeated[0]}'", do="give each a name of its own")
    unused = set(maps)
    clips: list[Clip] = []
    for name, table in zip(corpora, tables, strict=True):
        new = {(m.column, m.old): m for m in maps if m.corpus is None}
        new |= {(m.column, m.old): m for m in maps if m.corpus == name}
        for clip in read_manifest(table, must_exist=False):
            if COLUMN in clip.labels:
                what = f"has a column '{COLUMN}' already"
                raise InputError(what, where=str(table), do="join the single tables")
            used = {column: m for column, old in clip.labels.items() if (m := new.get((column, old)))}
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
        problems = [Problem(None, f"no clip has what '{m}' renames") for m in maps if m in unused]
        raise ManifestError(", ".join(map(str, tables)), problems)
    return clips
