"""CSV, TSV and text with any other delimiter."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from pathlib import Path

from layerprobe.cache.common.text import unguard_cell
from layerprobe.embed.manifest.readers.table import Table, decode

_OTHER_DELIMITERS = ",;\t|"


def read_text(path: Path, delimiter: str) -> Table:
    """Read lines of delimited cells. delimiter: the usual one of the file's extension. Raises ValueError."""
    text, note = decode(path.read_bytes())
    if text.startswith("sep=") and len(first := text.partition("\n")[0].strip()) == 5:
        delimiter, text = first[4], text.partition("\n")[2]  # Excel's
    else:
        delimiter = _delimiter(text, delimiter)
    reader, rows, line = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [], 1
    try:
        for row in reader:
            rows.append([unguard_cell(cell) if cell[:1] == "'" else cell for cell in row])
            line = reader.line_num + 1
    except csv.Error as error:
        # Read leniently, a quote that is not closed would swallow all rows after it.
        unclosed = str(error) == "unexpected end of data"
        what = "a quote is opened and never closed" if unclosed else str(error)
        raise ValueError(f"{what}, in the row that begins on line {line}") from error
    header, *others = rows or [[]]
    return Table(header, others, notes=(note,) if note else (), decimal_comma=delimiter != ",")


def _delimiter(text: str, usual: str) -> str:
    """The usual delimiter if the header has it, else the one that gives the header the most columns."""
    counts = dict.fromkeys(usual + _OTHER_DELIMITERS, 1)
    for mark in counts:
        with suppress(csv.Error):  # which is reported when the rows are read
            counts[mark] = len(
                next(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True), [])
            )
    return usual if counts[usual] > 1 else max(counts, key=counts.__getitem__)
