"""The command `matrix`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from layerprobe.cache.common.console import print_json
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import FLAT, Given, OutputOptions, StoreOptions
from layerprobe.classify.config import MIX, StudyConfig
from layerprobe.classify.matrix.config import MatrixStudy


@dataclass(frozen=True)
class MatrixOptions:
    """Options of `matrix`."""

    tables: list[Path]
    """Tables of clips, one per corpus."""
    _: KW_ONLY
    model: str
    """Model whose cached states are searched: preset, hub id, local folder, random:NAME, mfcc or fbank."""
    out: Path
    """Folder to write: matrix.json, matrix.csv, figures, and a run folder for each training; an interrupted
    matrix continues in it."""
    names: tuple[str, ...] = ()
    """Names of the corpora, comma-separated; the file names of the tables if omitted."""
    maps: Annotated[list[str] | None, Parameter(name="--map")] = None
    """Rename a label: [CORPUS/]COLUMN:OLD=NEW; repeatable."""
    study: Annotated[MatrixStudy, FLAT] = MatrixStudy()
    source: Annotated[StoreOptions, FLAT] = StoreOptions()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def matrix(options: Annotated[MatrixOptions, FLAT], *, given: Given | None = None) -> None:
    """Train on each corpus and test on each, and on each after training on all others.

    Within a corpus, folds are speaker-disjoint. Layers, heads and parameters are selected inside the training
    corpora. Only labels that all corpora have are used; a regression uses all numbers.
    """
    from layerprobe.classify.heads.registry import needs_frames
    from layerprobe.classify.matrix.run import run_matrix
    from layerprobe.classify.matrix.table import print_matrix
    from layerprobe.classify.tasks.regression import check_classes_meant
    from layerprobe.embed.manifest.channels import stored_channels
    from layerprobe.embed.manifest.join import LabelMap, join_tables
    from layerprobe.embed.models.layers import parse_layers
    from layerprobe.embed.models.lookup import find_model_store

    if len(options.tables) < 2:
        raise InputError("a matrix needs two tables or more", do="give one for each corpus")
    study: StudyConfig = options.study
    clips = join_tables(
        options.tables,
        names=list(options.names) or None,
        maps=[LabelMap.parse(text) for text in options.maps or ()],
    )
    if "--task" not in (given or {}):
        texts = [text for clip in clips if (text := clip.labels.get(study.target, "").strip())]
        check_classes_meant(texts, study.target)
    layers = ",".join(study.layers) or "all"
    store = find_model_store(
        model=options.model,
        layers=layers,
        virtual_layers=(MIX,),
        stats=study.stats,
        frames=needs_frames(study.heads),
        **vars(options.source),
    )
    if study.layers:
        study = replace(study, layers=parse_layers(layers, store.extraction.layers, also=(MIX,)))
    result = run_matrix(stored_channels(clips, store), store, options.out, study)
    if options.output.json:
        print_json(result)
    else:
        print_matrix(result, options.out)
