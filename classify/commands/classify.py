"""The command `classify`: parse, search, print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.config import (
    CORPUS_SPLIT,
    MIX,
    PRUNERS,
    SAMPLERS,
    SPLITS,
    SPLITS_WITH_FOLDS,
    EvaluationConfig,
    Metric,
    Scaling,
    StudyConfig,
)
from layerprobe.classify.controls.console import print_summary
from layerprobe.classify.controls.run import run
from layerprobe.embed.config import DEFAULT_CACHE

METRICS, SCALINGS = get_args(Metric), get_args(Scaling)

UNITS = {
    **{"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40},
}
# What decides a run's results comes from run.json; these say where and how it is made again.
FREE = ("repeat", "out", "jobs", "storage", "memory", "audit", "controls", "as_json")


def parse_bytes(text: str) -> int:
    """`8GB`, `512MiB` or plain bytes. Raises InputError."""
    digits = text.strip().rstrip("KMGTIBkmgtib ")
    unit = text.strip()[len(digits) :].strip().upper()
    try:
        return int(float(digits) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise InputError(f"--memory {text}", do="write it like 8GB or 512MiB") from None


def classify(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Run folder to write; an interrupted run goes on in it.")],
    table: Annotated[Path | None, typer.Argument(help="Table of clips: CSV, TSV or Parquet.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model whose cached states are probed, as for embed.")
    ] = None,
    repeat: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="run.json of a run to make again; only --out, --jobs, --storage, --memory, --audit and "
            "--controls are free.",
        ),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder of the stores.")] = DEFAULT_CACHE,
    target: Annotated[str, typer.Option(help="Column with the label.")] = StudyConfig.target,
    heads: Annotated[str, typer.Option(help="Heads, comma-separated, or bilstm for frames.")] = ",".join(
        StudyConfig.heads
    ),
    layers: Annotated[
        str, typer.Option(help="all, or as in 0-6,9,final; mix weighs those named, alone all.")
    ] = "all",
    stats: Annotated[str, typer.Option(help="Statistics that may be used; all that are cached.")] = "",
    scalings: Annotated[
        str, typer.Option(help=f"Ways of scaling that are searched, of {','.join(SCALINGS)}.")
    ] = ",".join(StudyConfig.scalings),
    split: Annotated[
        str | None, typer.Option(help=f"Outer folds: {', '.join(SPLITS)}.", show_default=StudyConfig.split)
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Outer folds as published, instead of --split; see `protocols`.")
    ] = None,
    train_corpus: Annotated[
        str, typer.Option(help="Train on these corpora, by the names in the column `corpus`.")
    ] = ",".join(StudyConfig.train_corpus),
    test_corpus: Annotated[str, typer.Option(help="Test on these; goes with --train-corpus.")] = ",".join(
        StudyConfig.test_corpus
    ),
    folds: Annotated[
        int | None, typer.Option(help="Outer folds, which score.", show_default=str(StudyConfig.folds))
    ] = None,
    inner_folds: Annotated[int, typer.Option(help="Inner folds, which choose.")] = StudyConfig.inner_folds,
    trials: Annotated[
        int, typer.Option(help="Trials for each outer fold, layer and head.")
    ] = StudyConfig.trials,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds for the whole search.")
    ] = StudyConfig.timeout,
    metric: Annotated[
        str, typer.Option(help=f"What inner folds maximise: {', '.join(METRICS)}.")
    ] = StudyConfig.metric,
    sampler: Annotated[str, typer.Option(help=f"Optuna's: {', '.join(SAMPLERS)}.")] = StudyConfig.sampler,
    pruner: Annotated[str, typer.Option(help=f"Optuna's: {', '.join(PRUNERS)}.")] = StudyConfig.pruner,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = StudyConfig.jobs,
    storage: Annotated[
        str | None, typer.Option(help="URL of the Optuna storage; search.db in the run folder by default.")
    ] = StudyConfig.storage,
    memory: Annotated[
        str, typer.Option(help="What all processes may keep of shared work, as in 8GB.")
    ] = f"{StudyConfig.memory >> 30}GiB",
    seed: Annotated[int, typer.Option(help="Decides folds, trials and fits.")] = StudyConfig.seed,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="Which extraction, where a model was cached in several ways.")
    ] = None,
    audit: Annotated[
        bool | None,
        typer.Option(
            "--audit/--no-audit",
            help="Look through table and sound for leaks and faults.",
            show_default="audit" if EvaluationConfig.audit else "no-audit",
        ),
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            help="What to put beside the score: none; cheap: shuffled labels, probes over layers for "
            "speaker, gender, words, age, duration; full: mfcc, random weights and fewer speakers too.",
            show_default=EvaluationConfig.controls,
        ),
    ] = None,
    path_column: Annotated[str | None, typer.Option(help="Column with the audio files.")] = None,
    speaker_column: Annotated[str | None, typer.Option(help="Column with the speakers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a table.")] = False,
) -> None:
    """Tune heads on every cached layer by nested cross-validation and score them on unseen speakers.

    Outer folds score, inner folds choose layer, head and parameters; no choice ever sees the test part.
    """
    wanted = {"audit": audit, "controls": controls}
    beside: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    manner: dict[str, Any] = {"jobs": jobs, "storage": storage, "memory": parse_bytes(memory)}
    if repeat is not None:
        _refuse_others(context)
        if not _was_given(context, "memory"):
            del manner["memory"]  # as recorded: it decides whether kernels are taken whole
        _again(repeat, out, manner, beside, as_json=as_json)
        return
    if table is None or model is None:
        raise InputError(
            "classify needs a table of clips and --model", do="or --from run.json of another run"
        )
    corpora = train_corpus or test_corpus or None
    folded = {"--split": split, "--folds": folds, "--train-corpus and --test-corpus": corpora}
    too_much = [option for option, given in folded.items() if given is not None]
    if protocol is not None and too_much:
        raise InputError(f"--protocol {protocol} brings its own folds", do=f"leave {too_much[0]} out")
    chosen = split or (CORPUS_SPLIT if corpora else StudyConfig.split)
    if folds is not None and chosen in SPLITS and chosen not in SPLITS_WITH_FOLDS:
        raise InputError(f"--split {chosen} brings its own folds", do="leave --folds out")
    config = StudyConfig(
        target=target,
        heads=_names(heads),
        stats=_names(stats),
        scalings=cast("tuple[Scaling, ...]", _names(scalings)),
        split=chosen,
        protocol=protocol,
        train_corpus=_names(train_corpus),
        test_corpus=_names(test_corpus),
        folds=StudyConfig.folds if folds is None else folds,
        inner_folds=inner_folds,
        trials=trials,
        timeout=timeout,
        metric=cast("Metric", metric),
        sampler=sampler,
        pruner=pruner,
        seed=seed,
        **manner,
    )
    from layerprobe.cache.maintenance.catalog import find_store
    from layerprobe.classify.heads.registry import want_frames
    from layerprobe.embed.manifest.clips import read_manifest
    from layerprobe.embed.models.layers import CNN, embed_options, named_layers, parse_layers
    from layerprobe.embed.models.lookup import check_names, wanted_fields

    clips = read_manifest(table, path_column=path_column, speaker_column=speaker_column, must_exist=False)
    match = wanted_fields(model, revision=revision, cache=cache)
    check_names(model, revision=revision, layers=layers, stats=config.stats, also=(MIX, CNN))
    asked = tuple(name for name in named_layers(layers) if name != MIX)
    store = find_store(
        cache,
        model=model,
        match=match,
        layers=asked,
        stats=config.stats,
        frames=want_frames(config.heads),
        fingerprint=fingerprint,
        options=embed_options(layers=asked, stats=config.stats),
    )
    if layers != "all":
        config = replace(config, layers=parse_layers(layers, store.extraction.layers, also=(MIX,)))
    command = {"table": str(table.resolve()), "path_column": path_column, "speaker_column": speaker_column}
    summary = run(clips, store, out, config, command=command, trust=EvaluationConfig(**beside))
    print_summary(out, summary, as_json=as_json)


def _refuse_others(context: typer.Context) -> None:
    """Raise InputError for anything given beside --from that the record decides."""
    for option in context.command.params:
        if option.name in FREE or not _was_given(context, option.name or ""):
            continue
        if option.name in ("table", "model"):
            raise InputError("--from brings its own table and model", do="leave TABLE and --model out")
        raise InputError(
            f"--from brings its own settings, and {option.opts[0]} is given too",
            do=f"leave {option.opts[0]} out, or give the whole command without --from",
        )


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _again(record: Path, out: Path, manner: dict[str, Any], beside: dict[str, Any], *, as_json: bool) -> None:
    """Make the run of a run.json once more; `beside` is what to change of its audit and controls."""
    from layerprobe.classify.runs.record import read_recorded
    from layerprobe.embed.manifest.clips import read_manifest

    told = read_recorded(record, manner=manner)
    columns = {"path_column": told.path_column, "speaker_column": told.speaker_column}
    command = {"table": str(told.table), **columns}
    clips = read_manifest(
        told.table,
        path_column=told.path_column,
        speaker_column=told.speaker_column,
        must_exist=False,
    )
    trust = replace(told.trust, **beside)
    summary = run(clips, told.store, out, told.config, command=command, trust=trust)
    print_summary(out, summary, as_json=as_json)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
