"""The command `probe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from layerprobe.cache.common.console import print_json, say
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
    check_choices,
    check_figure,
    check_out,
)
from layerprobe.cache.common.text import format_count
from layerprobe.classify.config import StudyConfig

if TYPE_CHECKING:
    from layerprobe.cache.store.feature_store import FeatureStore
    from layerprobe.embed.manifest.clips import Clip

MAX_FRAMES = 10_000  # a probe of 40 phones and 768 columns fits them in seconds


@dataclass(frozen=True)
class ProbeOptions:
    """Options of `probe`."""

    table: TableFile
    _: KW_ONLY
    model: str
    """Model whose cached states are probed: preset, hub id, local folder, random:NAME, mfcc or fbank."""
    targets: tuple[str, ...] = ()
    """What to predict, comma-separated: columns of the table, speaker, duration, or properties of the sound:
    f0_mean, f0_range, sound_level, speech_rate, spectral_tilt, or acoustic for all five. With --frames:
    voiced, f0. A column of the same name goes first."""
    target: str = StudyConfig.target
    """Column by which folds are balanced; the first of --targets if the table has no such column."""
    out: Path | None = None
    """Write every score with its interval into this CSV: a row for each target and layer."""
    force: Force = False
    figure: Path | None = None
    """Draw the curves over layers into this .svg, .pdf or .png."""
    title: FigureTitle = None
    frames: bool = False
    """Probe single frames instead of clips; requires states of `embed --frames`."""
    tier: tuple[str, ...] = ()
    """With --frames: tiers of the annotation files (TextGrid, .eaf, Audacity's labels) whose labels to
    predict, such as phones."""
    annotations: Path | None = None
    """Folder with the annotation files, found by the names of the recordings; beside these if omitted."""
    max_frames: int = MAX_FRAMES
    """With --frames: frames to draw at random from those that have a label."""
    jobs: int = StudyConfig.jobs
    """Worker processes; -1 for one per core."""
    seed: int = StudyConfig.seed
    """Decides folds, control tasks, and the frames that are drawn."""
    source: Annotated[StoreOptions, FLAT] = StoreOptions()
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def probe(options: Annotated[ProbeOptions, FLAT], *, given: Given | None = None) -> None:
    """Measure what each layer encodes: one linear probe per target and layer, without any tuning.

    Classes have UAR, selectivity against shuffled labels, and a description length; numbers have R².
    """
    from layerprobe.classify.controls.probes.tables import print_probes, write_table
    from layerprobe.embed.manifest.channels import stored_channels
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.lookup import find_model_store

    _check_options(options, given or {})
    store = find_model_store(model=options.model, frames=options.frames, **vars(options.source))
    clips = stored_channels(read_manifest(options.table, **vars(options.columns), must_exist=False), store)
    if options.frames:
        probes = _probe_frames(options, clips, store)
    else:
        probes = _probe_clips(options, clips, store, given=given or {})
    if options.out is not None:
        write_table(probes, options.out)
    if options.figure is not None:
        from layerprobe.classify.controls.probes.figure import draw_probes

        draw_probes(probes, store.extraction.model, options.figure, title=options.title)
    if options.output.json:
        print_json({"model": store.extraction.model, **probes})
    else:
        print_probes(probes)


def _probe_clips(
    options: ProbeOptions, clips: Sequence[Clip], store: FeatureStore, *, given: Mapping[str, str]
) -> dict[str, Any]:
    """Probe columns of the table and properties of the sound."""
    from layerprobe.classify.controls.probes.acoustics import ALL, TARGETS
    from layerprobe.classify.controls.probes.columns import probe_columns
    from layerprobe.classify.controls.probes.sound import probe_sound
    from layerprobe.classify.controls.probes.tables import joined
    from layerprobe.classify.controls.probes.targets import DURATION, SPEAKER, default_targets
    from layerprobe.classify.data.dataset import join_labels, join_unlabelled
    from layerprobe.classify.data.spellings import spelling_notes, unknown_column
    from layerprobe.classify.search.parallel import job_count

    spellings = spelling_notes(
        target=options.target,
        labels=[c.labels.get(options.target) for c in clips],
        speakers=[c.speaker for c in clips],
    )
    for note in spellings:
        say(f"note: {note}")
    columns = {column for clip in clips for column in clip.labels}
    wanted = list(options.targets) or default_targets(clips, options.target)
    if ALL in wanted and ALL not in columns:
        wanted = [name for one in wanted for name in (TARGETS if one == ALL else (one,))]
    wanted = list(dict.fromkeys(wanted))
    sound = [name for name in wanted if name in TARGETS and name not in columns]
    names = [name for name in wanted if name not in sound]
    known = {SPEAKER, DURATION, *columns}
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = [*sorted(known), *(name for name in (*TARGETS, ALL) if name not in known)]
        raise unknown_column(unknown[0], listed, option="--targets")
    balanced_by = options.target
    if balanced_by not in columns and "--target" not in given:
        balanced_by = next((name for name in names if name in columns), SPEAKER)
    if balanced_by == SPEAKER:
        clips = [replace(clip, labels={**clip.labels, SPEAKER: clip.speaker or ""}) for clip in clips]
    if names or "--target" in given or balanced_by in columns:
        data = join_labels(clips, store, target=balanced_by)
    else:
        data = join_unlabelled(clips, store)
    if data.note:
        say(f"note: {data.note}")
    jobs, results = job_count(options.jobs), []
    if names:
        results.append(probe_columns(None, store, data, clips, names, jobs=jobs, seed=options.seed))
    if sound:
        results.append(probe_sound(None, store, data, clips, sound, jobs=jobs, seed=options.seed))
        say(f"the sound was measured by {results[-1]['source']}")
    return joined(*results)


def _probe_frames(options: ProbeOptions, clips: Sequence[Clip], store: FeatureStore) -> dict[str, Any]:
    """Probe tiers of annotation files, voicing and fundamental frequency of single frames."""
    from layerprobe.classify.controls.probes.frame_targets import SOUND_TARGETS
    from layerprobe.classify.controls.probes.frames import probe_frames
    from layerprobe.classify.data.dataset import join_unlabelled
    from layerprobe.classify.search.parallel import job_count

    check_choices("--targets", options.targets, SOUND_TARGETS)
    names = options.targets or (() if options.tier else SOUND_TARGETS)
    data = join_unlabelled(clips, store)
    if data.note:
        say(f"note: {data.note}")
    probes = probe_frames(
        store,
        data,
        clips,
        tiers=options.tier,
        names=names,
        annotations=options.annotations,
        max_frames=options.max_frames,
        jobs=job_count(options.jobs),
        seed=options.seed,
    )
    of = format_count(probes["clips"], "clip")
    say(f"{probes['frames']:,} of {probes['known_frames']:,} frames with a label, of {of}")
    return probes


def _check_options(options: ProbeOptions, given: Mapping[str, str]) -> None:
    """Raise InputError for options that do not go together, and for files that cannot be written."""
    of_frames = [name for name in ("--tier", "--annotations", "--max-frames") if name in given]
    if of_frames and not options.frames:
        raise InputError(f"{of_frames[0]} is for probes of single frames", do="add --frames, or omit it")
    if options.frames and "--target" in given:
        do = "name what to predict with --tier or --targets"
        raise InputError("--target balances the folds of clips, not of frames", do=do)
    if options.annotations is not None and not options.tier:
        raise InputError("--annotations has labels, and none are asked for", do="name a tier with --tier")
    if options.max_frames < 1:
        raise InputError(f"--max-frames {options.max_frames}", do="give 1 or more")
    check_out(options.out, force=options.force, inputs=[options.table])
    check_figure(options.figure, title=options.title)
