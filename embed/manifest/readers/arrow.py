"""Parquet and Arrow files as text cells, with the conventions of Hugging Face's `datasets` in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.manifest.columns import PATH_COLUMNS, folded
from layerprobe.embed.manifest.readers.embedded import EmbeddedSound
from layerprobe.embed.manifest.readers.json_lines import nested_note
from layerprobe.embed.manifest.readers.table import Table, cell_text

_PARQUET_ROW_NAMES = "__index_level_"  # what pandas calls row names that have no name of their own
_ROWS = 256  # read at a time: each may hold a recording

Features = Mapping[str, Any]  # of `datasets`: column -> its type, as JSON
Convert = Callable[[Sequence[Any]], list[str]]


def read_parquet(path: Path) -> Table:
    """Read a Parquet file. Raises ValueError, InputError without pyarrow."""
    sound = EmbeddedSound(path)
    return sound.noted(read_columns([path], sound, arrow=False))


def read_columns(
    files: Sequence[Path], sound: EmbeddedSound, *, arrow: bool, features: Features | None = None
) -> Table:
    """The rows of all files, which have the same columns. Sound in them is written to files.

    arrow: Arrow files instead of Parquet. features: where the files do not contain them themselves. Columns
    of lists and objects are left out, with a note. Raises ValueError, InputError.
    """
    with _arrow_errors():
        table = None
        for file in files:
            schema, batches = _open_arrow(file) if arrow else _open_parquet(file)
            if table is None:
                table = _Columns(schema, features or _features(schema), sound)
            elif schema.names != table.schema.names:
                raise ValueError(f"{file.name} has other columns than {files[0].name}")
            for batch in batches:
                table.add(batch)
    return Table([], []) if table is None else table.table()


class _Columns:
    """Columns of text, filled batch by batch."""

    def __init__(self, schema: Any, features: Features, sound: EmbeddedSound) -> None:
        import pyarrow as pa

        self.schema, self._sound = schema, sound
        self._left_out: list[str] = []
        self._converters: dict[int, Convert] = {}
        self._cells: dict[int, list[str]] = {}
        self._path: str | None = None  # the column whose sound was written
        sounds = [field.name for field in schema if _is_sound(field.type)]
        ranked = [name for wanted in PATH_COLUMNS for name in sounds if folded(name) == wanted]
        recordings = (ranked or sounds or [None])[0]
        for place, field in enumerate(schema):
            if field.name.startswith(_PARQUET_ROW_NAMES):
                continue
            if pa.types.is_nested(field.type) and field.name != recordings:
                self._left_out.append(field.name)
                continue
            self._converters[place] = self._converter(field, features.get(field.name))
            self._cells[place] = []

    def add(self, batch: Any) -> None:
        import pyarrow as pa

        batch.validate(full=True)  # damaged offsets would be read beyond the end of memory
        for place in list(self._converters):
            cells = batch.column(place)
            if pa.types.is_duration(cells.type):
                cells = cells.cast(pa.duration("ns")).cast(pa.int64())
            try:
                self._cells[place] += self._converters[place](cells.to_pylist())
            except UnicodeDecodeError:
                name = self.schema.field(place).name
                self._left_out.append(name)
                del self._converters[place], self._cells[place]

    def table(self) -> Table:
        names = {place: self.schema.field(place).name for place in self._cells}
        if self._path is not None:  # what `path` says is where another machine had the sound
            names = {p: name for p, name in names.items() if folded(name) != "path" or name == self._path}
        columns = [self._cells[place] for place in names]
        notes = [nested_note(self._left_out)] if self._left_out else []
        rows = [list(row) for row in zip(*columns, strict=True)]
        return Table(list(names.values()), rows, notes=tuple(notes), path_column=self._path)

    def _converter(self, field: Any, feature: Any) -> Convert:
        import numpy as np
        import pyarrow as pa

        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        classes = feature.get("names") if isinstance(feature, dict) else None
        if isinstance(classes, list) and pa.types.is_integer(kind):
            return lambda values: [_class(classes, value) for value in values]
        if _is_sound(kind):
            return lambda values: [self._recording(field.name, value) for value in values]
        if pa.types.is_duration(kind):
            return lambda values: [cell_text(None if v is None else v / 1e9) for v in values]
        if pa.types.is_float32(kind) or pa.types.is_float16(kind):  # 0.1, not 0.10000000149011612
            narrow = kind.to_pandas_dtype()
            return lambda values: [cell_text(None if v is None else np.dtype(narrow).type(v)) for v in values]
        if _is_bytes(kind):
            if folded(field.name) in PATH_COLUMNS:
                return lambda values: [self._bytes(field.name, value) for value in values]
            return lambda values: ["" if value is None else value.decode() for value in values]
        return lambda values: [cell_text(value) for value in values]

    def _recording(self, column: str, value: dict[str, Any] | None) -> str:
        """The path of a struct of bytes and path."""
        data, path = (value or {}).get("bytes"), (value or {}).get("path")
        if data is None:
            return path or ""
        self._path = column
        return self._sound.cell(data, path)

    def _bytes(self, column: str, value: bytes | None) -> str:
        """Text that a writer stored as bytes, or sound."""
        try:
            return (value or b"").decode()
        except UnicodeDecodeError:
            return self._recording(column, {"bytes": value})


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in (*tests, pa.types.is_fixed_size_binary))


def _is_sound(kind: Any) -> bool:
    """Whether a column is of recordings, as `datasets` stores them: a struct of bytes and path."""
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    fields = {field.name: field.type for field in kind}
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return (
        bool(fields)
        and fields.keys() <= {"bytes", "path", "sampling_rate"}
        and ("bytes" not in fields or _is_bytes(fields["bytes"]) or pa.types.is_null(fields["bytes"]))
        and ("path" not in fields or any(test(fields["path"]) for test in texts))
    )


def _class(names: Sequence[Any], value: int | None) -> str:
    """The name of a class; '' for None and -1, which stands for an unknown class."""
    return str(names[value]) if value is not None and 0 <= value < len(names) else ""


def _features(schema: Any) -> Features:
    """What `datasets` recorded about the columns, in the metadata of the file."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _open_parquet(path: Path) -> tuple[Any, Iterator[Any]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    return file.schema_arrow, file.iter_batches(batch_size=_ROWS)


def _open_arrow(path: Path) -> tuple[Any, Iterator[Any]]:
    """An Arrow stream, as `datasets` writes it, or an Arrow file."""
    import pyarrow as pa

    source = pa.memory_map(str(path))
    if source.read(6) == b"ARROW1":
        file = pa.ipc.open_file(source)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    source.seek(0)
    stream = pa.ipc.open_stream(source)
    return stream.schema, iter(stream)


@contextmanager
def _arrow_errors() -> Iterator[None]:
    """Errors of pyarrow as ValueError."""
    try:
        import pyarrow as pa
    except ImportError as error:
        do = "pip install 'layerprobe[parquet]', or save the table as CSV"
        raise InputError("Parquet and Arrow tables need pyarrow", do=do) from error
    try:
        yield
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from error
