"""The command `probe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from layerprobe.cache.common.console import print_json, say
from layerprobe.cache.common.disk import check_overwrite
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import (
    FLAT,
    FigureTitle,
    Force,
    Given,
    OutputOptions,
    StoreOptions,
    TableColumns,
    TableFile,
    check_title,
)
from layerprobe.classify.config import StudyConfig


@dataclass(frozen=True)
class ProbeOptions:
    """Options of `probe`."""

    table: TableFile
    _: KW_ONLY
    model: str
    """Model whose cached states are probed: preset, hub id, local folder, random:NAME, mfcc or fbank."""
    targets: tuple[str, ...] = ()
    """Columns to predict, comma-separated; speaker and duration are always known."""
    target: str = StudyConfig.target
    """Column by which folds are balanced; the first of --targets if the table has no such column."""
    out: Path | None = None
    """Write every score with its interval into this CSV: a row for each target and layer."""
    force: Force = False
    figure: Path | None = None
    """Draw the curves over layers into this .svg, .pdf or .png."""
    title: FigureTitle = None
    jobs: int = StudyConfig.jobs
    """Worker processes; -1 for one per core."""
    seed: int = StudyConfig.seed
    """Decides the folds."""
    source: Annotated[StoreOptions, FLAT] = StoreOptions()
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def probe(options: Annotated[ProbeOptions, FLAT], *, given: Given | None = None) -> None:
    """Measure what each layer encodes: one linear probe per column and layer, without any tuning."""
    from layerprobe.classify.controls.console import print_probes
    from layerprobe.classify.controls.probes import DURATION, SPEAKER, default_targets, probe_columns
    from layerprobe.classify.data.dataset import join_labels
    from layerprobe.classify.data.spellings import spelling_notes
    from layerprobe.classify.search.parallel import job_count
    from layerprobe.embed.manifest.channels import stored_channels
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.lookup import find_model_store

    _check_files(options)
    store = find_model_store(model=options.model, **vars(options.source))
    clips = stored_channels(read_manifest(options.table, **vars(options.columns), must_exist=False), store)
    spellings = spelling_notes(
        target=options.target,
        labels=[c.labels.get(options.target) for c in clips],
        speakers=[c.speaker for c in clips],
    )
    for note in spellings:
        say(f"note: {note}")
    columns = {column for clip in clips for column in clip.labels}
    names = list(options.targets) or default_targets(clips, options.target)
    known = {SPEAKER, DURATION, *columns}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"no column '{unknown[0]}' in the table", do=f"choose --targets from {', '.join(sorted(known))}"
        )
    balanced_by = options.target
    if balanced_by not in columns and "--target" not in (given or {}):
        balanced_by = next((name for name in names if name in columns), SPEAKER)
    if balanced_by == SPEAKER:
        clips = [replace(clip, labels={**clip.labels, SPEAKER: clip.speaker or ""}) for clip in clips]
    data = join_labels(clips, store, target=balanced_by)
    if data.note:
        say(f"note: {data.note}")
    probes = probe_columns(None, store, data, clips, names, jobs=job_count(options.jobs), seed=options.seed)
    if options.out is not None:
        _write_table(probes, options.out)
    if options.figure is not None:
        from layerprobe.classify.controls.figures import draw_probes

        draw_probes(probes, store.extraction.model, options.figure, title=options.title)
    if options.output.json:
        print_json({"model": store.extraction.model, **probes})
    else:
        print_probes(probes)


def _check_files(options: ProbeOptions) -> None:
    """Raise InputError for files that cannot be written, before anything is computed."""
    if options.out is not None:
        check_overwrite(options.out, force=options.force, inputs=[options.table])
        if not options.out.parent.is_dir():
            do = f"folder {options.out.parent} does not exist: create it, or name another"
            raise InputError(f"--out {options.out}", do=do)
    check_title(options.title, options.figure)
    if options.figure is not None:
        from layerprobe.classify.plotting import check_figure

        check_figure(options.figure)


def _write_table(probes: Mapping[str, Any], path: Path) -> None:
    """Write the result of `probe_columns` as CSV. Raises InputError."""
    from layerprobe.classify.runs.run_folder import write_csv

    header = ("target", "layer", "uar", "low", "high", "chance", "classes", "clips")
    rows = [
        [target["target"], entry["layer"], *(entry["uar"][name] for name in ("value", "low", "high"))]
        + [target[name] for name in ("chance", "classes", "clips")]
        for target in probes["targets"]
        for entry in target["layers"]
    ]
    try:
        write_csv(path, header, rows)
    except OSError as error:
        message = f"cannot be written ({error.strerror})"
        raise InputError(message, where=str(path), do="choose another file for --out") from error
