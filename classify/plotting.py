"""What all figures share: style, colours, and saving the same bytes for the same run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError

KINDS = ("svg", "pdf", "png")
# No dates or random ids, so that the same run gives the same files.
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
STYLE = {
    "svg.hashsalt": "layerprobe",
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,  # TrueType, embedded: journals refuse Type 3
    "text.parse_math": False,  # a $ in a name is no formula
    "font.size": 10,
}
# Okabe & Ito (2008): distinguishable with all common kinds of colour blindness; marks, without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
MOST_TICKS = 26
NO_TITLE = "none"


def check_figure(path: Path) -> None:
    """Raise InputError for a --figure that cannot be drawn, before anything is computed."""
    if path.suffix[1:] not in KINDS:
        raise InputError(f"--figure {path}", do=f"end the name in .{', .'.join(KINDS)}")
    if not path.parent.is_dir():
        raise InputError(
            f"--figure {path}", do=f"folder {path.parent} does not exist: create it, or name another"
        )


def format_chance(chance: float) -> str:
    """`chance 0.125`: three digits, since 0.12 and 0.13 are both wrong for eight classes."""
    return f"chance {chance:.3g}"


def choose_title(title: str | None, default: str) -> str:
    """A figure's title as the user chose it: `none` for no title, None for the default."""
    return default if title is None else "" if title == NO_TITLE else title


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of its suffix. Raises InputError if the folder is not writable."""
    drawn, kind = io.BytesIO(), path.suffix[1:]
    figure.savefig(drawn, format=kind, dpi=160, metadata=METADATA.get(kind))
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, drawn.getvalue())
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(path), do="choose another folder"
        ) from error
    return path
