"""The command `classify`. Most of its options are in `classify.config`, the shared ones in
`cache.common.options`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, Field, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from layerprobe.cache.common.console import say_error
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import (
    FLAT,
    Given,
    OutputOptions,
    RunFolder,
    StoreOptions,
    TableColumns,
    TableFile,
    flag,
)
from layerprobe.classify.config import CORPUS_SPLIT, SPLITS, SPLITS_WITH_FOLDS, EvaluationConfig, StudyConfig
from layerprobe.classify.controls.console import print_summary
from layerprobe.classify.layer_names import Fuse
from layerprobe.classify.search.clusters import LOKY, BackendName

if TYPE_CHECKING:
    from layerprobe.cache.store.feature_store import FeatureStore
    from layerprobe.classify.predict.study import Study
    from layerprobe.embed.manifest.clips import Clip

# The record decides a repeated run's results; these options say where and how the run is made.
FREE_WITH_FROM = (
    *("--from", "--out", "--jobs", "--backend", "--storage", "--memory"),
    *("--audit", "--no-audit", "--controls", "--bundle", "--no-bundle", "--json"),
)
NOT_QUICK = (  # options that --quick has no use for
    *("--heads", "--trials", "--scalings", "--timeout", "--sampler", "--pruner", "--inner-folds"),
    *("--ensemble", "--sampling", "--storage", "--backend", "--bundle"),
)


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of `classify`."""

    table: TableFile | None = None
    _: KW_ONLY
    out: RunFolder
    model: tuple[str, ...] = ()
    """Model whose cached states are searched: preset, hub id, local folder, random:NAME, mfcc or fbank.
    Several (A,B or --model A --model B) are studied on the same folds and fused, see --fuse."""
    fuse: Fuse | None = None
    """How several models are fused: early (the columns of the layers that inner folds select side by side),
    late (the mean of the selected systems' probabilities, weighted on inner folds) or both."""
    repeat: Annotated[Path | None, Parameter(name="--from")] = None
    """run.json of a run to repeat; only --out, --jobs, --backend, --storage, --memory, --audit, --controls
    and --bundle may be changed."""
    study: Annotated[StudyConfig, FLAT] = StudyConfig()
    evaluation: Annotated[EvaluationConfig, FLAT] = EvaluationConfig()
    source: Annotated[StoreOptions, FLAT] = StoreOptions()
    columns: Annotated[TableColumns, FLAT] = TableColumns()
    backend: BackendName = LOKY
    """Whose processes search: loky's, on this machine, or those of dask or ray, the cluster of
    DASK_SCHEDULER_ADDRESS or RAY_ADDRESS, else one of this machine's cores. --jobs and --memory are for the
    whole cluster."""
    bundle: Annotated[bool, Parameter(negative="--no-bundle")] = True
    """Refit the selected system on all clips, and save it in the run folder for `predict`."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def classify(options: Annotated[ClassifyOptions, FLAT], *, given: Given | None = None) -> None:
    """Tune heads on every cached layer by nested cross-validation and score them on unseen speakers.

    Outer folds give the score; inner folds choose layer, head and parameters. No choice ever sees the test
    part.
    """
    if options.repeat is not None:
        summary = repeat_run(options, options.repeat, given=given or {})
    else:
        summary = run_study_of(options, given=given or {})
    if "fusion" in summary and not options.output.json:
        from layerprobe.classify.fusion.console import print_gain

        print_gain(summary)
    print_summary(options.out, summary, as_json=options.output.json)


def run_study_of(options: ClassifyOptions, *, given: Mapping[str, str]) -> dict[str, Any]:
    """Run the study that the options describe; returns its summary."""
    from layerprobe.classify.controls.evaluation import run_and_evaluate
    from layerprobe.classify.fusion.models import Models, parse_names
    from layerprobe.classify.runs.splits_file import resolve_splits
    from layerprobe.classify.search.clusters.connect import workers_of
    from layerprobe.classify.tasks.regression import check_classes_meant
    from layerprobe.classify.tasks.votes import join_votes
    from layerprobe.embed.manifest.channels import stored_channels
    from layerprobe.embed.manifest.clips import read_manifest

    if options.table is None or not options.model:
        raise InputError(
            "classify needs a table of clips and --model", do="or --from run.json of another run"
        )
    _check_folds(options.study, given)
    study, evaluation = options.study, options.evaluation
    models = Models(
        names=options.model,
        fuse=options.fuse,
        source=options.source,
        stored_elsewhere=bool(study.storage),
        quick=study.quick,
        task=study.task,
    )
    models.check()
    if study.quick:
        evaluation = _quick_evaluation(options, given)
    command = {"table": str(options.table.resolve()), **vars(options.columns)}
    stores = models.find_stores(study)
    table = read_manifest(options.table, **vars(options.columns), must_exist=False)
    clips = stored_channels(table, stores[0])
    if study.task == "soft":
        clips = join_votes(clips, study.target)
    if "--task" not in given:
        texts = [text for clip in clips if (text := clip.labels.get(study.target, "").strip())]
        check_classes_meant(texts, study.target)
    study = replace(study, layers=parse_names(study.layers, stores))
    if study.splits is not None:
        study = replace(study, splits=resolve_splits(str(study.splits), clips))
    with workers_of(options.backend, jobs=study.jobs) as jobs:
        study = replace(study, jobs=jobs)
        if options.fuse is not None:
            from layerprobe.classify.fusion.run import run_fusion

            return run_fusion(
                clips, stores, options.out, study, fuse=options.fuse, command=command, evaluation=evaluation
            )
        (store,) = stores
        summary = run_and_evaluate(clips, store, options.out, study, command=command, evaluation=evaluation)
    if options.bundle and not study.quick:
        _make_bundle(options.out, clips, store, study)
    return summary


def study_from_python(
    table: Path | str, *, model: str | Sequence[str], out: Path | str, options: Mapping[str, Any]
) -> Study:
    """What `layerprobe.classify` does: run the command with options by name; the finished run.

    Raises TypeError for an option that does not exist.
    """
    from layerprobe.classify.predict.study import Study

    models = (model,) if isinstance(model, str) else tuple(model)
    remaining, settings = dict(options), dict[str, Any]()
    groups = {"study": StudyConfig, "evaluation": EvaluationConfig, "source": StoreOptions}
    for group, kind in {**groups, "columns": TableColumns}.items():
        own = {f.name: _as_typed(remaining.pop(f.name), f) for f in fields(kind) if f.name in remaining}
        settings[group] = kind(**own)
    settings |= {name: remaining.pop(name) for name in ("bundle", "fuse", "backend") if name in remaining}
    if remaining:
        raise TypeError(f"classify() got an unexpected keyword argument '{next(iter(remaining))}'")
    run_study_of(
        ClassifyOptions(Path(table), out=Path(out), model=models, **settings),
        given={flag(name): str(value) for name, value in options.items()},
    )
    return Study(out)


def _as_typed(value: Any, field: Field[Any]) -> Any:
    """The value as the command line reads it: a text such as "svm,knn" may stand for several values."""
    several = value.replace(", ", ",").split(",") if isinstance(value, str) else value
    return tuple(several) if isinstance(value, list) or isinstance(field.default, tuple) else value


def repeat_run(options: ClassifyOptions, record: Path, *, given: Mapping[str, str]) -> dict[str, Any]:
    """Repeat the run recorded in a run.json; returns its summary.

    given: the options as typed. Options that affect the results come from the record and must not be given.
    """
    from layerprobe.classify.controls.evaluation import run_and_evaluate
    from layerprobe.classify.runs.run_record import read_recorded
    from layerprobe.classify.search.clusters.connect import workers_of

    _refuse_recorded(options, given)
    runtime: dict[str, Any] = {"jobs": options.study.jobs, "storage": options.study.storage}
    if "--memory" in given:  # as recorded otherwise: it decides whether kernels are exact
        runtime["memory"] = options.study.memory
    recorded = read_recorded(record, runtime=runtime)
    command = {"path_column": recorded.path_column, "speaker_column": recorded.speaker_column}
    evaluation = recorded.evaluation
    if {"--audit", "--no-audit"} & set(given):
        evaluation = replace(evaluation, audit=options.evaluation.audit)
    if "--controls" in given:
        evaluation = replace(evaluation, controls=options.evaluation.controls)
    clips = recorded.read_clips()
    config = recorded.config
    with workers_of(options.backend, jobs=config.jobs) as jobs:
        summary = run_and_evaluate(
            clips,
            recorded.store,
            options.out,
            replace(config, jobs=jobs),
            command={"table": str(recorded.table), **command},
            evaluation=evaluation,
        )
    if options.bundle and not recorded.config.quick:
        _make_bundle(options.out, clips, recorded.store, recorded.config)
    return summary


def _make_bundle(out: Path, clips: Sequence[Clip], store: FeatureStore, study: StudyConfig) -> None:
    """Save the selected system of a finished run; a system that cannot be saved is a note."""
    from layerprobe.classify.predict.make import make_bundle

    try:
        make_bundle(out, clips, store, study)
    except InputError as error:
        say_error(f"note: no bundle: {error}")


def _quick_evaluation(options: ClassifyOptions, given: Mapping[str, str]) -> EvaluationConfig:
    """No audit and no controls but those asked for. Raises InputError for options without a use."""
    for name in NOT_QUICK:
        if name in given:
            raise InputError(f"--quick tunes nothing, and {name} is given", do=f"omit {name}")
    return EvaluationConfig(
        audit="--audit" in given and options.evaluation.audit,
        controls=options.evaluation.controls if "--controls" in given else "none",
    )


def _check_folds(study: StudyConfig, given: Mapping[str, str]) -> None:
    """Raise InputError for options about folds that contradict each other."""
    corpora = {"--train-corpus", "--test-corpus"} & set(given)
    conflicting = [name for name in ("--split", "--folds") if name in given] + sorted(corpora, reverse=True)
    for option, value in (("--protocol", study.protocol), ("--splits", study.splits)):
        if value is not None and conflicting:
            raise InputError(f"{option} {value} has its own folds", do=f"omit {conflicting[0]}")
    if corpora and given.get("--split", CORPUS_SPLIT) != CORPUS_SPLIT:
        raise InputError(
            "training on one corpus and testing on another requires --train-corpus and --test-corpus",
            do=f"give both and no other --split than {CORPUS_SPLIT}",
        )
    if "--folds" in given and study.split in SPLITS and study.split not in SPLITS_WITH_FOLDS:
        raise InputError(f"--split {study.split} has its own folds", do="omit --folds")


def _refuse_recorded(options: ClassifyOptions, given: Mapping[str, str]) -> None:
    """Raise InputError for anything given next to --from that the record decides."""
    if options.table is not None or options.model:
        raise InputError("--from has its own table and model", do="omit TABLE and --model")
    for name in given:
        if name not in FREE_WITH_FROM:
            raise InputError(
                f"--from has its own settings, and {name} is given too",
                do=f"omit {name}, or give the complete command without --from",
            )
