"""The commands `bundle make` and `bundle export`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App

from layerprobe.cache.common.options import FLAT

app = App(name="bundle", help="Save the selected system of a run, and write it for other libraries.")


@dataclass(frozen=True)
class MakeOptions:
    """Options of `bundle make`."""

    run: Path
    """Folder of a finished run of `classify`."""
    _: KW_ONLY
    out: Path | None = None
    """Folder of the bundle; bundle/ in the run folder if omitted."""
    exportable: bool = False
    """Instead of the selected system, save the best one that `bundle export` can write for transformers:
    logistic regression on the mean of one layer."""


@app.command
def make(options: Annotated[MakeOptions, FLAT]) -> None:
    """Refit the selected system of a finished run on all clips, and save it for `predict`."""
    from layerprobe.classify.predict.make import make_bundle_of

    print(f"bundle      {make_bundle_of(options.run, out=options.out, exportable=options.exportable)}")
