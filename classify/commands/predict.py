"""The command `predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from layerprobe.cache.common.console import print_json, print_table, progress, say, say_error
from layerprobe.cache.common.disk import check_overwrite
from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.options import (
    DEFAULT_CACHE,
    FLAT,
    CacheFolder,
    Device,
    FigureTitle,
    Force,
    OutputOptions,
    TableColumns,
    check_figure,
)
from layerprobe.cache.common.text import format_count, printable
from layerprobe.classify.config import StudyConfig

if TYPE_CHECKING:
    from layerprobe.classify.predict.bundle import Bundle

WINDOW, HOP = 3.0, 1.0  # seconds, of a stream
RATE, LOWEST_RATE, HIGHEST_RATE = 16_000, 1_000, 768_000  # Hz, of a stream
MAX_FAILURES = 20  # printed
UNSURE = "(unsure)"  # in place of the label of a prediction below --min-confidence
OUT_SUFFIXES = (".csv", ".json")


@dataclass(frozen=True)
class PredictOptions:
    """Options of `predict`."""

    bundle: Path
    """Bundle: the folder bundle/ of a run folder, or models/fold-0 of a fine-tuning."""
    inputs: Annotated[list[Path], Parameter(show_default=False)] = field(default_factory=list)
    """Recordings, folders of recordings, and tables of clips."""
    _: KW_ONLY
    out: Path | None = None
    """Write labels and all probabilities, or the numbers of a regression, into this .csv or .json."""
    force: Force = False
    figure: Path | None = None
    """Draw probabilities or numbers of windows over time into this .svg, .pdf or .png; requires --window."""
    title: FigureTitle = None
    window: float | None = None
    """Predict windows of this many seconds instead of complete recordings; 3 for --stdin."""
    hop: float | None = None
    """Seconds from one window to the next; 1 if omitted."""
    min_confidence: float = 0.0
    """Give no label to a prediction whose largest probability is lower."""
    coverage: float | None = None
    """Also give a set of labels that holds the true one for this share of new speakers' clips (0.9)."""
    stdin: bool = False
    """Read raw 16-bit mono PCM from standard input, and predict it while it arrives."""
    rate: int | None = None
    """Sampling rate of standard input in Hz; 16000 if omitted."""
    model: str | None = None
    """Where the backbone is, if it was moved: preset, hub id or local folder, with the same weights."""
    cache: CacheFolder = DEFAULT_CACHE
    device: Device = "auto"
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def predict(options: Annotated[PredictOptions, FLAT]) -> None:
    """Predict recordings with a study's selected system: labels and probabilities, or a number.

    Recordings that cannot be used are listed, the others predicted.
    """
    from layerprobe.classify.predict.bundle import load_bundle
    from layerprobe.classify.predict.recordings import check_windows

    _check(options)
    check_windows(options.window, options.hop, stream=options.stdin)
    bundle = load_bundle(options.bundle, model=options.model, device=options.device)
    if options.min_confidence:
        bundle.require_labels("confidence", do="omit --min-confidence")
    if options.coverage is not None:
        bundle.require_labels("sets of labels", do="omit --coverage")
    try:
        if options.stdin:
            _predict_stream(bundle, options)
        else:
            _predict_recordings(bundle, options)
    except KeyboardInterrupt:
        raise Interrupted("nothing was written" if options.out else "the rest was not predicted") from None


def _check(options: PredictOptions) -> None:
    """Raise InputError for options that contradict each other."""
    if options.stdin and (options.inputs or options.out):
        given = options.inputs[0] if options.inputs else f"--out {options.out}"
        raise InputError(f"--stdin and {given}", do="give one; the output of --stdin can be redirected")
    if not options.stdin and not options.inputs:
        raise InputError("nothing to predict", do="name recordings, folders or tables, or give --stdin")
    if not 0 <= options.min_confidence <= 1:
        raise InputError(f"--min-confidence {options.min_confidence:g}", do="give 0 to 1")
    if options.coverage is not None and not 0 < options.coverage < 1:
        raise InputError(f"--coverage {options.coverage:g}", do="give a share between 0 and 1, such as 0.9")
    if options.rate is not None and not options.stdin:
        raise InputError("--rate is of standard input; files have their own", do="omit it, or give --stdin")
    if options.rate is not None and not LOWEST_RATE <= options.rate <= HIGHEST_RATE:
        raise InputError(f"--rate {options.rate}", do=f"give {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    check_figure(options.figure, title=options.title)
    if options.figure is not None and (options.window is None or options.stdin):
        do = "omit --stdin" if options.stdin else "give --window, such as --window 3"
        raise InputError("--figure draws windows of recordings over time", do=do)
    if options.out is not None:
        if options.out.suffix.lower() not in OUT_SUFFIXES:
            raise InputError(f"--out {options.out}", do=f"use one of {', '.join(OUT_SUFFIXES)}")
        if not options.out.absolute().parent.is_dir():
            raise InputError(f"--out {options.out}: no such folder", do="create it first")
        check_overwrite(options.out, force=options.force, inputs=options.inputs)


def _predict_recordings(bundle: Bundle, options: PredictOptions) -> None:
    from layerprobe.classify.predict.recordings import cut_windows, find_recordings
    from layerprobe.classify.predict.results.table import as_rows, write_predictions

    clips = find_recordings(options.inputs, **vars(options.columns))
    faults: dict[str, ClipError] = {}
    if options.window is not None:
        hop = HOP if options.hop is None else options.hop
        clips, faults = cut_windows(bundle.select_sound(clips), window=options.window, hop=hop)
    cache = options.cache if options.cache.is_dir() else None
    with progress("predict") as line:
        predictions = bundle.predict_clips(
            clips,
            cache=cache,
            min_confidence=options.min_confidence,
            coverage=options.coverage,
            report=lambda done, total: line.update(done / total, f"{done}/{total}"),
        )
    failed = {**faults, **{one.clip.id: one.error for one in predictions if one.error is not None}}
    usable = [one for one in predictions if one.error is None]
    if not usable:
        first = next(iter(failed.values()))
        what = f"none of {len(failed)} recordings could be used; the first: {first.reason}"
        raise InputError(what, where=first.where)
    rows = as_rows(usable, bundle.labels, windows=options.window is not None)
    reasons = {name: error.reason for name, error in failed.items()}
    if options.out is not None:
        write_predictions(options.out, rows, bundle.labels, failed=reasons, separator=_separator(bundle))
    if options.output.json:
        print_json({"labels": bundle.labels, "predictions": rows, "failed": reasons})
    elif options.out is None:
        print_table([_shown(row, bundle) for row in rows])
    else:
        print(f"{format_count(len(rows), 'prediction')} in {options.out}")
    if options.figure is not None:
        _draw(rows, bundle, options.figure, options)
    unsure = sum(one.label is None for one in usable)
    if options.min_confidence:
        say(f"{unsure} of {len(usable)} predictions are below {options.min_confidence:g} and have no label")
    if options.coverage is not None:
        _explain_sets(bundle, options.coverage)
    for name, reason in list(reasons.items())[:MAX_FAILURES]:
        say_error(f"  {name}: {reason}")
    if reasons:
        say_error(f"{len(reasons)} of {len(reasons) + len(usable)} recordings could not be used")


def _draw(rows: list[dict[str, Any]], bundle: Bundle, figure: Path, options: PredictOptions) -> None:
    from layerprobe.classify.predict.results.timeline import MOST_RECORDINGS, draw_timeline

    names = bundle.labels or (str(bundle.content.get("target")),)
    left_out = draw_timeline(rows, names, figure, title=options.title)
    if not options.output.json:
        print(f"figure {figure}")
    if left_out:
        say(f"note: the figure has the first {MOST_RECORDINGS} recordings, without {left_out} more")


def _predict_stream(bundle: Bundle, options: PredictOptions) -> None:
    from layerprobe.classify.predict.recordings import windows_of

    bundle.check_speakers()
    bundle.extractor  # noqa: B018 — loads the backbone before the first sound arrives
    window = WINDOW if options.window is None else options.window
    hop = HOP if options.hop is None else options.hop
    rate = RATE if options.rate is None else options.rate
    rules: dict[str, Any] = {"min_confidence": options.min_confidence, "coverage": options.coverage}
    for begin, samples in windows_of(sys.stdin.buffer, rate=rate, window=window, hop=hop):
        (one,) = bundle.predict_waves([samples], rate=rate, **rules)
        end = begin + len(samples) / rate
        if options.output.json:
            row: dict[str, Any] = {"start": begin, "end": end}
            if one.number is not None:
                row["number"] = one.number
            else:
                row |= {"label": one.label} if one.labels is None else {"labels": one.labels}
                row["probabilities"] = dict(zip(bundle.labels, one.probabilities, strict=False))
            if one.label_set is not None:
                row["label_set"] = one.label_set
            print(json.dumps(row if one.error is None else {**row, "error": one.error.reason}), flush=True)
        elif one.error is not None:
            print(f"{begin:9.2f} {end:9.2f}  -      {printable(one.error.reason)}", flush=True)
        elif one.labels is not None:
            print(f"{begin:9.2f} {end:9.2f}  {_separator(bundle).join(one.labels) or '-'}", flush=True)
        elif one.number is not None:
            print(f"{begin:9.2f} {end:9.2f}  {one.number:.4g}", flush=True)
        else:
            text = one.label or UNSURE if one.label_set is None else "|".join(one.label_set)
            print(f"{begin:9.2f} {end:9.2f}  {one.confidence:.3f}  {text}", flush=True)


def _explain_sets(bundle: Bundle, coverage: float) -> None:
    """Say what the sets of labels promise, and when they cannot."""
    from layerprobe.classify.scores.conformal import least_groups

    groups, needed, leaked = bundle.groups(), least_groups(coverage), bundle.content.get("leaked")
    if groups < needed:
        what = f"the study tested {groups} speakers, and a coverage of {coverage:g} needs {needed} or more"
        say(f"note: every set holds all labels: {what}")
        return
    whom = "speakers seen in training" if leaked else "new speakers"
    say(
        f"the sets hold the true label of {coverage:.0%} of the clips of {whom}, counting speakers equally, "
        f"if these are like the {groups} speakers of the study"
    )


def _separator(bundle: Bundle) -> str:
    """What stands between the labels of a set in the table that the bundle was trained on."""
    return str(bundle.content.get("separator", StudyConfig.separator))


def _shown(row: Mapping[str, Any], bundle: Bundle) -> dict[str, Any]:
    """A row of the printed table."""
    from layerprobe.classify.predict.results.table import join_labels

    cells = join_labels(row, separator=_separator(bundle))
    cells.pop("probabilities", None)
    label = {"label": cells["label"] or UNSURE} if "label" in cells else {}
    return {**cells, "file": printable(cells["file"]), **label}
