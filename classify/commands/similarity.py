"""The command `similarity`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from layerprobe.cache.common.console import print_json, print_table, progress, say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import (
    FLAT,
    FigureTitle,
    Force,
    OutputOptions,
    StoreOptions,
    TableColumns,
    TableFile,
    check_choice,
    check_figure,
    check_out,
)
from layerprobe.cache.common.text import format_count
from layerprobe.classify.config import StudyConfig

if TYPE_CHECKING:
    pass

MEASURES = ("cka", "svcca")


@dataclass(frozen=True)
class SimilarityOptions:
    """Options of `similarity`."""

    table: TableFile
    _: KW_ONLY
    model: Annotated[tuple[str, ...], Parameter(required=True)]
    """One model, whose layers are compared with each other, or two (A,B or --model A --model B), whose layers
    are compared across. Names as for embed: FOLDER of a fine-tuned model, random:NAME for random weights."""
    measure: str = "cka"
    """cka: linear centred kernel alignment, unbiased. svcca: mean canonical correlation of principal axes."""
    stats: tuple[str, ...] = ("mean",)
    """Statistics over frames that are compared."""
    clips: int | None = None
    """Compare only so many clips, drawn at random; all if omitted. Time grows with their square."""
    out: Path | None = None
    """Write every value with its interval into this CSV: a row for each pair of layers."""
    force: Force = False
    figure: Path | None = None
    """Draw the matrix of values, and a curve with intervals, into this .svg, .pdf or .png."""
    title: FigureTitle = None
    seed: int = StudyConfig.seed
    """Decides the clips that are drawn, and groups of many speakers."""
    source: Annotated[StoreOptions, FLAT] = StoreOptions()
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def similarity(options: Annotated[SimilarityOptions, FLAT]) -> None:
    """Measure how similar layers are, within one model or between two, with intervals over speakers."""
    from layerprobe.classify.similarity.layers import compare_layers
    from layerprobe.classify.similarity.table import closest, rows, write_table
    from layerprobe.embed.manifest.channels import stored_channels
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.lookup import find_model_stores

    _check(options)
    stores = find_model_stores(options.source, options.model)
    clips = stored_channels(
        read_manifest(options.table, **vars(options.columns), must_exist=False), stores[0]
    )
    if options.clips is not None and options.clips < len(clips):
        import numpy as np

        drawn = np.random.default_rng(options.seed).choice(len(clips), options.clips, replace=False)
        clips = [clips[row] for row in sorted(drawn.tolist())]
    with progress("comparing layers") as line:
        result = compare_layers(
            clips,
            stores,
            names=[store.extraction.model for store in stores],
            measure="svcca" if options.measure == "svcca" else "cka",
            stats=options.stats,
            seed=options.seed,
            report=lambda share: line.update(share, f"{share:.0%}"),
        )
    if options.out is not None:
        write_table(result, options.out)
    if options.figure is not None:
        from layerprobe.classify.similarity.figure import draw_similarity

        draw_similarity(result, options.figure, title=options.title)
    for note in result.notes:
        say(f"note: {note}")
    if options.output.json:
        measured = {
            name: getattr(result, name) for name in ("measure", "stats", "clips", "speakers", "excluded")
        }
        print_json({"models": result.models, **measured, "pairs": rows(result)})
        return
    over = "without speakers" if result.speakers is None else f"of {format_count(result.speakers, 'speaker')}"
    title = f"{options.measure} on {result.clips} clips {over}"
    if not result.one_model:
        title += f"; each layer of {result.models[0]},\nand the most similar of {result.models[1]}"
    print_table(closest(result), title=title)
    if result.excluded:
        say(f"note: {result.excluded} clips were left out: they could not be embedded")


def _check(options: SimilarityOptions) -> None:
    """Raise InputError for options that do not go together, before anything is computed."""
    check_choice("--measure", options.measure, MEASURES)
    if not 1 <= len(options.model) <= 2:
        raise InputError(f"--model names {len(options.model)} models", do="name one, or two to compare")
    if options.clips is not None and options.clips < 4:
        raise InputError(f"--clips {options.clips}", do="give 4 or more")
    if options.source.revision is not None and len(options.model) > 1:
        what = "--revision does not say which of the two models it belongs to"
        raise InputError(what, do="choose states by --fingerprint A,B")
    if len((options.source.fingerprint or "").split(",")) not in (1, len(options.model)):
        raise InputError(
            f"--fingerprint {options.source.fingerprint}", do="give one for each model, in the same order"
        )
    check_figure(options.figure, title=options.title)
    check_out(options.out, force=options.force, inputs=[options.table])
