"""Manifests of lhotse: `recordings.jsonl` and `supervisions.jsonl`, gzipped or not."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from layerprobe.cache.common.text import shorten
from layerprobe.embed.manifest.readers.datasets import one_or_stacked
from layerprobe.embed.manifest.readers.json_lines import json_objects
from layerprobe.embed.manifest.readers.table import Table, cell_text, table_error

_SUFFIXES = (".jsonl", ".jsonl.gz")
_FIELDS = ("speaker", "text", "language", "gender")
_NUMBERS = {"parse_int": Decimal, "parse_float": Decimal, "parse_constant": lambda name: None}


def find_recordings(folder: Path) -> list[Path]:
    """The manifests of recordings in a folder: `recordings.jsonl.gz`, `corpus_recordings_train.jsonl`, …"""
    return sorted(
        path
        for path in folder.glob("*recordings*.jsonl*")
        if path.name.endswith(_SUFFIXES) and _supervisions(path) is not None
    )


def read_lhotse(folder: Path) -> Table:
    """A row for each supervision; further fields are those of `custom`.

    Of several pairs of manifests, the last part of the name is the split. Raises ManifestError with all
    faults, ValueError for files that are not JSON lines.
    """
    tables = {}
    for recordings in find_recordings(folder):
        split = recordings.name.partition(".")[0].partition("recordings")[2].strip("_-")
        tables[split or recordings.name] = _read(recordings, _supervisions(recordings) or recordings)
    return one_or_stacked(tables)


def _supervisions(recordings: Path) -> Path | None:
    name = recordings.name.replace("recordings", "supervisions").partition(".jsonl")[0]
    candidates = [recordings.with_name(name + suffix) for suffix in _SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def _read(recordings: Path, supervisions: Path) -> Table:
    faults: list[str] = []
    paths: dict[str, str] = {}
    lengths: dict[str, Any] = {}
    unusable: set[str] = set()
    for number, entry in enumerate(json_objects(recordings, _NUMBERS)[0], start=1):
        if entry:
            name = str(entry.get("id"))
            sources = entry.get("sources")
            source = sources[0] if isinstance(sources, list) and sources else None
            path = source.get("source") if isinstance(source, dict) else None
            unusable.add(name)
            if not isinstance(source, dict) or not isinstance(path, str):
                faults.append(f"{recordings.name} line {number}: '{shorten(name)}' has no source")
            elif source.get("type") != "file":
                kind = shorten(str(source.get("type")))
                faults.append(
                    f"{recordings.name} line {number}: '{shorten(name)}' is no file but a {kind}, which is "
                    f"neither run nor downloaded: {shorten(path)}"
                )
            else:
                unusable.discard(name)
                paths[name], lengths[name] = path, entry.get("duration")
    rows: list[dict[str, str]] = []
    for number, entry in enumerate(json_objects(supervisions, _NUMBERS)[0], start=1):
        if not entry:
            continue
        place, name = f"{supervisions.name} line {number}", str(entry.get("recording_id"))
        if name in paths:
            try:
                times = _times(entry, lengths[name])
            except (InvalidOperation, TypeError, ValueError):
                faults.append(f"{place}: start or duration is no number")
                continue
            rows.append({"id": cell_text(entry.get("id")), "path": paths[name], **times, **_labels(entry)})
        elif name not in unusable:
            faults.append(f"{place}: is of '{shorten(name)}', which {recordings.name} does not have")
    if faults:
        raise table_error(recordings.parent, faults)
    columns = list(dict.fromkeys(["id", "path", "start", "end", *(name for row in rows for name in row)]))
    cells = [[row.get(name, "") for name in columns] for row in rows]
    return Table(columns, cells, path_column="path")


def _times(entry: dict[str, Any], length: Any) -> dict[str, str]:
    """Start and end; none of a supervision that covers its recording."""
    start, duration = Decimal(entry.get("start") or 0), Decimal(entry.get("duration") or 0)
    if not duration or (not start and duration == length):
        return {"start": str(start) if start else "", "end": ""}
    return {"start": str(start), "end": str(start + duration)}


def _labels(entry: dict[str, Any]) -> dict[str, str]:
    custom = entry.get("custom")
    values = {name: entry.get(name) for name in _FIELDS} | (custom if isinstance(custom, dict) else {})
    return {
        name: cell_text(value)
        for name, value in values.items()
        if not isinstance(value, dict | list) and name not in ("id", "path", "start", "end")
    }
