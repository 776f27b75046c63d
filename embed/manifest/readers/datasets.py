"""Folders of Hugging Face's `datasets`: of `save_to_disk`, and as the hub stores them (Parquet)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.embed.manifest.readers.arrow import read_columns
from layerprobe.embed.manifest.readers.embedded import EmbeddedSound
from layerprobe.embed.manifest.readers.table import Table

STATE, SPLITS, INFO = "state.json", "dataset_dict.json", "dataset_info.json"
_SHARD = re.compile(r"(.+?)(?:-\d+-of-\d+(?:-\w+)?)?")


def read_datasets(folder: Path) -> Table:
    """A folder of `save_to_disk`: a Dataset, or a DatasetDict, whose splits become the column `split`.

    Raises ValueError for files that are missing or damaged, InputError for sound that cannot be written.
    """
    sound = EmbeddedSound(folder)
    if not (folder / SPLITS).exists():
        return sound.noted(_read_split(folder, sound))
    names = _json(folder / SPLITS).get("splits")
    if not isinstance(names, list) or not all(isinstance(n, str) and Path(n).name == n for n in names):
        raise ValueError(f"{SPLITS} does not list its splits")
    return sound.noted(stack({name: _read_split(folder / name, sound) for name in names}))


def find_parquet(folder: Path) -> list[Path]:
    """The Parquet files of a dataset as the hub stores it: in the folder, or in its folder `data`."""
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))


def read_parquet_folder(folder: Path) -> Table:
    """Files such as `data/train-00000-of-00002.parquet`; the first part of the name is the split."""
    splits: dict[str, list[Path]] = {}
    for file in find_parquet(folder):
        match = _SHARD.fullmatch(file.stem)
        splits.setdefault(match[1] if match else file.stem, []).append(file)
    sound = EmbeddedSound(folder)
    tables = {name: read_columns(files, sound, arrow=False) for name, files in splits.items()}
    return sound.noted(one_or_stacked(tables))


def one_or_stacked(tables: Mapping[str, Table]) -> Table:
    """The only table, or the rows of all as of `stack`."""
    return stack(tables) if len(tables) > 1 else next(iter(tables.values()))


def stack(tables: Mapping[str, Table]) -> Table:
    """The rows of all tables, with the table's name in the column `split` unless they have one."""
    columns = list(dict.fromkeys(name for table in tables.values() for name in table.columns))
    named = columns if "split" in columns else [*columns, "split"]
    rows = []
    for split, table in tables.items():
        for row in table.rows:
            cells = {"split": split, **dict(zip(table.columns, row, strict=True))}
            rows.append([cells.get(name, "") for name in named])
    return Table(
        named,
        rows,
        notes=tuple(dict.fromkeys(note for table in tables.values() for note in table.notes)),
        path_column=next((t.path_column for t in tables.values() if t.path_column is not None), None),
    )


def _read_split(folder: Path, sound: EmbeddedSound) -> Table:
    state, info = _json(folder / STATE), _json(folder / INFO)
    if state.get("_indices_data_files"):
        raise ValueError("it was saved as a selection of rows; call flatten_indices() before save_to_disk")
    listed = state.get("_data_files")
    names = [str(entry.get("filename")) for entry in listed or () if isinstance(entry, dict)]
    if not names or not all(Path(name).name == name for name in names):
        raise ValueError(f"{folder.name}/{STATE} does not list its files")
    features = info.get("features")
    return read_columns(
        [folder / name for name in names],
        sound,
        arrow=True,
        features=features if isinstance(features, dict) else None,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"it has no file {path.parent.name}/{path.name}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return content
