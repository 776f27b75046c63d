"""Run rows of the published table: as published and on unseen speakers, fine-tuned and with frozen heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import say, say_error
from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.classify.config import StudyConfig
from layerprobe.classify.data.protocols import protocol_folds
from layerprobe.classify.reproduce.available import Available, find_available
from layerprobe.classify.reproduce.published import PublishedSystem
from layerprobe.classify.reproduce.table import (
    FINE_TUNED,
    HEADS,
    UNSEEN_FINE_TUNED,
    UNSEEN_HEADS,
    RowReport,
    report_row,
)
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.manifest.clips import Clip, read_manifest, write_manifest
from layerprobe.embed.manifest.join import join_tables

STAND_IN = "stand-in"  # folder below --out for everything that stand-ins need and produce
MARK = "stand-ins.txt"  # marks that folder, so that real runs are never written into it


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of all rows.

    corpora, weights: folders to search; None for none, and for weights the hub's cache. heads: the study of
    frozen heads. stand_in: use stand-ins instead of real corpora and weights. overrides: fields of the
    published `FinetuneConfig` to replace.
    """

    corpora: Path | None
    weights: Path | None
    out: Path
    cache: Path
    device: str
    heads: StudyConfig
    stand_in: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A published system, and what this machine has of it."""

    system: PublishedSystem
    settings: RunSettings
    available: Available

    def run(self) -> RowReport:
        """Make the row's four runs; finished ones are not repeated, and a failed one is reported.

        Raises Interrupted when the user stops it.
        """
        system, folder = self.system, self.settings.out / self.system.name
        say(f"{system.name}: {system.hub_id} on {' + '.join(system.corpora)}")
        try:
            clips = self._clips()
        except InputError as error:
            return self.report(failures=[str(error)])
        runs: dict[str, tuple[Callable[[str, Sequence[Clip], Path], None], str]] = {
            HEADS: (self._run_heads, system.published_split),
            UNSEEN_HEADS: (self._run_heads, system.unseen_split),
            FINE_TUNED: (self._run_fine_tuning, system.published_split),
            UNSEEN_FINE_TUNED: (self._run_fine_tuning, system.unseen_split),
        }
        failures = []
        for name, (run, split) in runs.items():
            try:
                run(split, clips, folder / name)
            except Exception as error:  # one failing run must not stop the others
                message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                failures.append(f"{name}: {message}")
                say_error(f"error: {system.name}, {failures[-1]}")
        return self.report(failures=failures)

    def report(self, *, failures: Sequence[str] = ()) -> RowReport:
        """Report on the row's runs without running anything."""
        system, corpora = self.system, self.available.corpora
        count = sum(len(corpus.clips) for corpus in corpora.values())
        notes = []
        if len(corpora) == len(system.corpora) and count != system.clips and not self.settings.stand_in:
            notes.append(
                f"published on {system.clips:,} clips, but this copy has {count:,}"
                + ("; which clips of EYASE were used is unknown" if "eyase" in system.corpora else "")
            )
        return report_row(
            system,
            self.settings.out / system.name,
            stand_in=self.settings.stand_in,
            missing=self.available.missing,
            failures=failures,
            notes=notes,
        )

    def _clips(self) -> list[Clip]:
        """The row's clips, also written as a table; a join prefixes speakers with their corpus."""
        folder = _make_folder(self.settings.out / "tables")
        tables = [folder / f"{name}.csv" for name in self.system.corpora]
        for table, corpus in zip(tables, self.available.corpora.values(), strict=True):
            write_manifest(corpus.clips, table)
        if len(tables) > 1:
            joined = folder / f"{'-'.join(self.system.corpora)}.csv"
            write_manifest(join_tables(tables), joined)
            tables = [joined]
        return read_manifest(tables[0])

    def _run_heads(self, split: str, clips: Sequence[Clip], out: Path) -> None:
        from layerprobe.classify.controls.evaluation import run_and_evaluate
        from layerprobe.embed.extract.run import embed_with_progress
        from layerprobe.embed.models.lookup import find_model_store

        model, cache = self.available.model, self.settings.cache
        summary = embed_with_progress(
            clips, EmbedConfig(model=model, cache=cache, device=self.settings.device)
        )
        if summary.stopped:
            raise Interrupted(f"finished clips are in {cache}; the same command resumes")
        store = find_model_store(cache, model, fingerprint=summary.fingerprint)
        run_and_evaluate(clips, store, out, replace(self.settings.heads, protocol=split))

    def _run_fine_tuning(self, split: str, clips: Sequence[Clip], out: Path) -> None:
        # Both import torch.
        from layerprobe.classify.finetune.run import finetune_with_progress
        from layerprobe.embed.models.device import find_device

        recipe = self.system.recipe(split, device=str(find_device(self.settings.device)))
        finetune_with_progress(
            clips,
            protocol_folds(split, clips),
            model=self.available.model,
            out=out,
            config=replace(recipe, **self.settings.overrides),
            cache=self.settings.cache,
        )


def reproduce_rows(
    systems: Sequence[PublishedSystem], settings: RunSettings, *, dry_run: bool = False
) -> list[RowReport]:
    """Run every row whose corpora and weights are available, and report on all of them.

    Finished runs are not repeated, interrupted ones are resumed, and a failing run does not stop the others.
    dry_run: run nothing. Raises InputError where `settings.out` cannot be used, Interrupted.
    """
    if (settings.out / MARK).is_file():
        raise InputError("holds scores of stand-ins", where=str(settings.out), do="choose another --out")
    if settings.stand_in:
        settings = _prepare_stand_ins(systems, settings)
    rows = [
        Row(
            system=system,
            settings=settings,
            available=find_available(
                system, corpora=settings.corpora, weights=settings.weights, any_size=settings.stand_in
            ),
        )
        for system in systems
    ]
    return [row.report() if dry_run or row.available.missing else row.run() for row in rows]


def _prepare_stand_ins(systems: Sequence[PublishedSystem], settings: RunSettings) -> RunSettings:
    """Make the stand-ins that do not exist yet; settings that use them, with much smaller runs."""
    from layerprobe.classify.reproduce.stand_ins import make_corpora, make_weights  # imports torch

    say("stand-ins: tiny models with random weights and a few synthetic voices; their scores mean nothing")
    out = _make_folder(settings.out / STAND_IN)
    write_atomically(
        out / MARK, "Made with stand-ins: no score in this folder describes a published system.\n"
    )
    heads = settings.heads
    return replace(
        settings,
        corpora=make_corpora(out / "corpora"),
        weights=make_weights(out / "weights", sorted({system.hub_id for system in systems})),
        out=out,
        cache=out / "features",
        heads=replace(heads, heads=("logreg",), trials=min(heads.trials, 2), inner_folds=2, jobs=1),
        overrides={"epochs": 1, "batch_size": 16, "accumulation": 1},
    )


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot be created ({error.strerror})"
        raise InputError(message, where=str(folder), do="choose another --out") from error
    return folder
