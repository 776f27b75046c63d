"""Early fusion: heads searched on the columns of the models' selected layers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.fusion.joined_store import JoinedStore
from layerprobe.classify.fusion.late import fused_layer
from layerprobe.classify.fusion.sources import Source
from layerprobe.classify.heads.registry import heads_of
from layerprobe.classify.layer_names import EARLY, JOIN, is_single
from layerprobe.classify.runs.cost import RunTimer
from layerprobe.classify.runs.run_folder import RESULTS, read_csv, reading_table
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.scores.selection import select_system
from layerprobe.classify.search.plan import Plan
from layerprobe.classify.search.progress import ProgressCallback
from layerprobe.classify.search.strategies.pruning import without_halving
from layerprobe.classify.search.strategies.rounds import search_all


@dataclass(frozen=True, kw_only=True)
class EarlyPlan(Plan):
    """A plan whose layer is another one in each outer fold. joined: that layer, fold by fold."""

    joined: tuple[str, ...] = ()

    def studies(self) -> list[StudyId]:
        """Every head on the layer of each outer fold."""
        heads = self.config.heads
        return [StudyId(fold, layer, head) for fold, layer in enumerate(self.joined) for head in heads]

    def streams(self, head: str) -> bool:
        """Never: a joined store scales each model's columns by all clips, so it reads them at once."""
        return False


def early_plan(sources: Sequence[Source]) -> EarlyPlan:
    """The plan of the search on joined layers. Raises InputError if no head or no layer can be joined.

    Heads that read layers together or every frame are left out, and so is the scaling `none`: the models'
    columns are always standardised.
    """
    first = sources[0].plan
    known = heads_of(first.config.task)
    joinable = [one for one in first.config.heads if known[one].reads != "frames" and not known[one].together]
    if not joinable:
        what = f"--fuse {EARLY} joins statistics of layers, and {first.config.heads[0]} does not read these"
        raise InputError(what, do="add logreg or svm to the heads, or give --fuse late")
    for source in sources:
        if not any(is_single(id.layer) for id in source.plan.studies()):
            what = f"--fuse {EARLY} joins single layers, and none of {source.name} is searched"
            raise InputError(what, do="name layers with --layers, or give --fuse late")
    stores = {source.name: source.plan.store for source in sources}
    scalings = tuple(name for name in first.config.scalings if name != "none") or ("standard",)
    config = replace(
        without_halving(first.config),  # it compares layers, and each fold has its own here
        heads=tuple(joinable),
        scalings=scalings,
        stats=(),
        layers=(),
        ensemble=0,
    )
    store = JoinedStore(stores, stats=first.config.stats)
    return EarlyPlan(store=store, data=first.data, folds=first.folds, config=config, splits=first.splits)


def early_results(
    sources: Sequence[Source], out: Path, *, run: str, report: ProgressCallback | None, timer: RunTimer
) -> list[StudyResult]:
    """For each outer fold the best head on the layers that its inner folds selected of the models.

    run: name in the storage of trials, in `out`.
    """
    plan = early_plan(sources)
    layers = [best_layers(source.run, folds=len(plan.folds)) for source in sources]
    joined = [
        JOIN.join(f"{source.name}:{layer}" for source, layer in zip(sources, fold, strict=True))
        for fold in zip(*layers, strict=True)
    ]
    plan = replace(plan, joined=tuple(joined))
    results = search_all(plan, out, run, report=report, timer=timer)
    label = fused_layer(sources)
    return [
        replace(
            best,
            id=StudyId(best.id.fold, label, EARLY),
            params={"layers": best.id.layer, "head": best.id.head, **best.params},
            details={"joined": best.id.layer, "by": best.id.head},
        )
        for best in select_system(results)
    ]


def best_layers(run: Path, *, folds: int) -> list[str]:
    """For each outer fold of a run the single layer with the best inner score. Raises InputError."""
    path = run / RESULTS
    with reading_table(path):
        header, *lines = read_csv(path)
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        own = [[r for r in rows if int(r["fold"]) == k and is_single(r["layer"])] for k in range(folds)]
        return [max(fold, key=lambda row: float(row["inner_score"]))["layer"] for fold in own]
