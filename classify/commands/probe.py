"""The runs beside a run, whose states are embedded first; and the command `probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cache.common.console import print_json
from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import StudyConfig
from layerprobe.embed.config import DEFAULT_CACHE


def probe(
    table: Annotated[Path, typer.Argument(help="Table of clips: CSV, TSV or Parquet.", show_default=False)],
    model: Annotated[str, typer.Option(help="Model whose cached states are probed, as for embed.")],
    targets: Annotated[
        str, typer.Option(help="Columns to look for, comma-separated; speaker and duration are known too.")
    ] = "",
    figure: Annotated[
        Path | None, typer.Option(help="Draw the curves over layers: a file .svg, .pdf or .png.")
    ] = None,
    target: Annotated[str, typer.Option(help="Column by which folds are balanced.")] = StudyConfig.target,
    cache: Annotated[Path, typer.Option(help="Folder of the stores.")] = DEFAULT_CACHE,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = StudyConfig.jobs,
    seed: Annotated[int, typer.Option(help="Decides the folds.")] = StudyConfig.seed,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="Which extraction, where a model was cached in several ways.")
    ] = None,
    path_column: Annotated[str | None, typer.Option(help="Column with the audio files.")] = None,
    speaker_column: Annotated[str | None, typer.Option(help="Column with the speakers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """See what each layer gives away: a linear probe for one column after the other, without any tuning."""
    from layerprobe.cache.maintenance.catalog import find_store
    from layerprobe.classify.controls.console import print_probes
    from layerprobe.classify.controls.probe_targets import usual_columns
    from layerprobe.classify.controls.probes import probe_columns
    from layerprobe.classify.data.dataset import join_labels
    from layerprobe.classify.search.workers import job_count
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.lookup import wanted_fields

    if figure is not None:
        from layerprobe.classify.plotting import check_figure

        check_figure(figure)
    clips = read_manifest(table, path_column=path_column, speaker_column=speaker_column, must_exist=False)
    match = wanted_fields(model, revision=revision, cache=cache)
    store = find_store(cache, model=model, match=match, fingerprint=fingerprint)
    data = join_labels(clips, store, target=target)
    names = [name.strip() for name in targets.split(",") if name.strip()] or usual_columns(clips, target)
    columns = {column for clip in clips for column in clip.labels}
    unknown = [name for name in names if name not in {*columns, "speaker", "duration"}]
    if unknown:
        known = ", ".join(sorted({*columns, "speaker", "duration"}))
        raise InputError(f"no column '{unknown[0]}' in the table", do=f"choose --targets from {known}")
    found = probe_columns(None, store, data, clips, names, jobs=job_count(jobs), seed=seed)
    if figure is not None:
        from layerprobe.classify.controls.figures import draw_probes

        draw_probes(found, f"{store.extraction.model}: what a linear probe reads", figure)
    if as_json:
        print_json({"model": store.extraction.model, **found})
    else:
        print_probes(found)
