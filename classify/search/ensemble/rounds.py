"""The ensembles of a study, one for each outer fold, run by its workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from layerprobe.cache.common.console import stage
from layerprobe.classify.runs import run_folder
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.ensemble.combine import ensemble_id, ensemble_units, run_ensemble
from layerprobe.classify.search.parallel import run_parallel
from layerprobe.classify.search.plan import Plan


@stage("ensembles")
def make_ensembles(
    plan: Plan, out: Path, results: Mapping[StudyId, StudyResult]
) -> dict[StudyId, StudyResult]:
    """The ensemble of each outer fold; those of an interrupted run are not made again."""
    if not plan.config.ensemble:
        return {}
    units = ensemble_units(plan, results)
    found = {ensemble_id(unit.fold): run_folder.load_result(out, ensemble_id(unit.fold)) for unit in units}
    made = {id: result for id, result in found.items() if result is not None}
    pending = [unit for unit in units if ensemble_id(unit.fold) not in made]
    for result in run_parallel(run_ensemble, pending, jobs=plan.jobs, shared=[plan]):
        run_folder.save_result(out, result)
        made[result.id] = result
    return {id: made[id] for id in found}
