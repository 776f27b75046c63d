"""The commands `bundle make`, `bundle export` and `bundle push`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App

from layerprobe.cache.common.console import print_json
from layerprobe.cache.common.options import FLAT, OutputOptions

app = App(name="bundle", help="Save the selected system of a run, write it for other libraries, upload it.")


@dataclass(frozen=True)
class MakeOptions:
    """Options of `bundle make`."""

    run: Path
    """Folder of a finished run of `classify`."""
    _: KW_ONLY
    out: Path | None = None
    """Folder of the bundle; if omitted bundle/ in the run folder, or with --exportable exportable/."""
    exportable: bool = False
    """Save the best system that `bundle export` can write for transformers, which is logistic regression on
    the mean of one layer, instead of the selected one."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


@dataclass(frozen=True)
class ExportOptions:
    """Options of `bundle export`."""

    bundle: Path
    """Bundle, such as bundle/ of a run folder, or models/fold-0 of a fine-tuning."""
    out: Path
    """Folder to write."""
    _: KW_ONLY
    format: Literal["transformers"] = "transformers"
    """Library to write for: transformers, whose pipeline("audio-classification", model=FOLDER) runs it."""
    model: str | None = None
    """Where the backbone is, if it was moved: preset, hub id or local folder, with the same weights."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


@dataclass(frozen=True)
class PushOptions:
    """Options of `bundle push`."""

    bundle: Path
    """Bundle, such as bundle/ of a run folder."""
    repository: str
    """Model repository on the hub, OWNER/NAME; created if it does not exist."""
    _: KW_ONLY
    private: bool = False
    """Create the repository as a private one."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


@app.command
def make(options: Annotated[MakeOptions, FLAT]) -> None:
    """Refit the selected system of a finished run on all clips, and save it for `predict`."""
    from layerprobe.classify.predict.make import make_bundle_of

    out = make_bundle_of(options.run, out=options.out, exportable=options.exportable)
    _print("bundle", out, as_json=options.output.json)


@app.command
def export(options: Annotated[ExportOptions, FLAT]) -> None:
    """Write a bundle, with its backbone, for another library.

    Possible for a linear head on the mean of one layer, and for fine-tuned models with a linear head. Of a
    run without one, the best system that can be written is named.
    """
    from layerprobe.classify.predict.bundle import load_bundle
    from layerprobe.classify.predict.transformers_export import export_transformers

    out = export_transformers(load_bundle(options.bundle, model=options.model), options.out)
    _print(f"model for {options.format}", out, as_json=options.output.json)


@app.command
def push(options: Annotated[PushOptions, FLAT]) -> None:
    """Upload a bundle with its model card to the Hugging Face hub, in one commit.

    Uses the token in HF_TOKEN, or of `hf auth login`. A bundle with a changed file is refused.
    """
    from layerprobe.classify.predict.push import push_bundle

    address = push_bundle(options.bundle, options.repository, private=options.private)
    _print("uploaded to", address, as_json=options.output.json)


def _print(what: str, out: Path | str, *, as_json: bool) -> None:
    if as_json:
        print_json({"out": out})
    else:
        print(f"{what}  {out}")
