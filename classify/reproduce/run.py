"""Rows of the published table, run again as published and on unseen speakers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cache.common.console import progress, say
from layerprobe.cache.common.disk import replace_text
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.classify.config import StudyConfig
from layerprobe.embed.config import EmbedConfig

if TYPE_CHECKING:
    from layerprobe.classify.reproduce.published import PublishedSystem
    from layerprobe.classify.reproduce.table import Missing, RowReport
    from layerprobe.embed.manifest.clips import Clip
    from layerprobe.embed.manifest.corpora import Corpus

STAND_IN = "stand-in"  # the folder below --out that holds all that stand-ins need and make
MARK = "stand-ins.txt"  # in it, so that it is not taken for a folder of real runs


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where things lie and how large the runs are. quick: what stand-ins change of the published recipe."""

    corpora: Path | None
    weights: Path | None
    out: Path
    cache: Path
    device: str
    heads: StudyConfig
    quick: Mapping[str, Any] = field(default_factory=dict)
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True)
class Available:
    """What a row needs and is there: its corpora by name, and what to open as its model; and what is not."""

    corpora: dict[str, Corpus]
    model: str | None
    missing: tuple[Missing, ...]


def _stand_ins(chosen: Sequence[PublishedSystem], manner: RunSettings) -> RunSettings:
    """The same, on stand-ins that are made where they are not there yet."""
    from layerprobe.classify.reproduce.stand_ins import make_corpora, make_weights

    say("stand-ins: tiny models with random weights and a few synthetic voices; their scores mean nothing")
    out = _made(manner.out / STAND_IN)
    replace_text(out / MARK, "Made of stand-ins: no figure in here says anything of a published system.\n")
    small = replace(
        manner.heads, heads=("logreg",), trials=min(manner.heads.trials, 2), inner_folds=2, jobs=1
    )
    return replace(
        manner,
        corpora=make_corpora(out / "corpora"),
        weights=make_weights(out / "weights", sorted({system.hub_id for system in chosen})),
        out=out,
        cache=out / "features",
        heads=small,
        quick={"epochs": 1, "batch_size": 16, "accumulation": 1},
        stand_in=True,
    )


def _made(folder: Path) -> Path:
    """The folder, which is there then. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = f"cannot be made ({error.strerror})"
        raise InputError(told, where=str(folder), do="choose another --out") from error
    return folder


def _find(system: PublishedSystem, manner: RunSettings) -> Available:
    from layerprobe.classify.reproduce.available import find_corpus, find_weights
    from layerprobe.classify.reproduce.published import CORPUS_SOURCES
    from layerprobe.classify.reproduce.table import Missing

    corpora: dict[str, Corpus] = {}
    missing = []
    for name in system.corpora:
        try:
            corpora[name] = find_corpus(name, manner.corpora)
        except InputError as error:
            missing.append(Missing.corpus(CORPUS_SOURCES[name], here=str(error)))
    model = None
    try:
        model = find_weights(system.hub_id, manner.weights, any_size=manner.stand_in)
    except InputError as error:
        missing.append(Missing.weights(system.hub_id, here=str(error)))
    return Available(corpora=corpora, model=model, missing=tuple(missing))


def _reproduce(system: PublishedSystem, found: Available, manner: RunSettings) -> RowReport:
    """Make the row's four runs; each that fails is told, and the others are made all the same."""
    from layerprobe.classify.reproduce import table as reproduced

    failures: list[str] = []
    folder = manner.out / system.name
    say(f"{system.name}: {system.hub_id} on {' + '.join(system.corpora)}")
    try:
        clips = _clips(system, found, manner)
    except InputError as error:
        return _report(system, found, manner, failures=[str(error)])
    runs: dict[str, Callable[[Path], object]] = {
        reproduced.HEADS: lambda run: _heads(system.published_split, clips, found, manner, run),
        reproduced.UNSEEN_HEADS: lambda run: _heads(system.unseen_split, clips, found, manner, run),
        reproduced.TUNED: lambda run: _tuned(system, system.published_split, clips, found, manner, run),
        reproduced.UNSEEN_TUNED: lambda run: _tuned(system, system.unseen_split, clips, found, manner, run),
    }
    for name, make in runs.items():
        try:
            make(folder / name)
        except Exception as error:  # one row must not take the others with it
            told = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            failures.append(f"{name}: {told}")
            say(f"error: {system.name}, {failures[-1]}")
    return _report(system, found, manner, failures=failures)


def _clips(system: PublishedSystem, found: Available, manner: RunSettings) -> list[Clip]:
    """The row's clips, also written as a table; of two corpora with the corpus's name before the speakers."""
    from layerprobe.embed.manifest.clips import read_manifest, write_manifest
    from layerprobe.embed.manifest.join import join_tables

    folder = _made(manner.out / "tables")
    tables = [folder / f"{name}.csv" for name in system.corpora]
    for table, corpus in zip(tables, found.corpora.values(), strict=True):
        write_manifest(corpus.clips, table)
    if len(tables) > 1:
        joined = folder / f"{'-'.join(system.corpora)}.csv"
        write_manifest(join_tables(tables), joined)
        tables = [joined]
    return read_manifest(tables[0])


def _heads(split: str, clips: Sequence[Clip], found: Available, manner: RunSettings, run: Path) -> None:
    from layerprobe.classify.controls.run import run as run_classify
    from layerprobe.embed.extract.progress import run as run_embed
    from layerprobe.embed.models.lookup import find_model_store

    model = str(found.model)
    done = run_embed(clips, EmbedConfig(model=model, cache=manner.cache, device=manner.device))
    if done.stopped:
        raise Interrupted(f"finished clips are in {manner.cache}; the same command resumes")
    store = find_model_store(manner.cache, model, fingerprint=done.fingerprint)
    run_classify(clips, store, run, replace(manner.heads, protocol=split))


def _tuned(
    system: PublishedSystem,
    split: str,
    clips: Sequence[Clip],
    found: Available,
    manner: RunSettings,
    run: Path,
) -> None:
    from layerprobe.classify.data.protocols import assign
    from layerprobe.classify.finetune.run import finetune
    from layerprobe.embed.models.device import find_device

    config = replace(system.recipe(split, device=str(find_device(manner.device))), **manner.quick)
    model = str(found.model)
    try:
        with progress(f"finetune {system.hub_id}") as line:
            finetune(
                clips,
                assign(split, clips),
                model=model,
                out=run,
                config=config,
                cache=manner.cache,
                report=lambda now: line.update(now.share, now.told),
            )
    except KeyboardInterrupt:
        raise Interrupted(f"finished folds are kept in {run}; the same command resumes") from None


def _report(
    system: PublishedSystem, found: Available, manner: RunSettings, *, failures: Sequence[str] = ()
) -> RowReport:
    from layerprobe.classify.reproduce.table import report_row

    held = sum(len(corpus.clips) for corpus in found.corpora.values())
    notes = []
    if len(found.corpora) == len(system.corpora) and held != system.clips and not manner.stand_in:
        notes.append(
            f"published on {system.clips:,} clips, and here are {held:,}"
            + ("; which ones of EYASE were used is not known" if "eyase" in system.corpora else "")
        )
    return report_row(
        system,
        manner.out / system.name,
        stand_in=manner.stand_in,
        missing=found.missing,
        failures=failures,
        notes=notes,
    )
