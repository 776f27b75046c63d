"""A worker asks its main process for each study before it runs it, and the main process, which alone uses the
storage, replies with a file.

So a study is claimed at the moment at which a worker is free, and not earlier: at the end of a search no
process holds work that another could do. Workers on a cluster cannot see that file, and get the reply in
advance.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.scores.results import StudyId, StudyResult
from layerprobe.classify.search.nested import TrialDone
from layerprobe.classify.search.units import NO_FURTHER_TRIAL, Unit, study_runner

POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class SharedUnit:
    """A unit whose studies other processes may run.

    folder: where the main process replies. grants: the replies, if the worker is not to ask.
    """

    unit: Unit
    folder: Path
    grants: Mapping[StudyId, Grant | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A worker is free for a study. unit: the studies of its unit. reply: file for the `Grant`."""

    id: StudyId
    unit: Sequence[StudyId]
    reply: Path

    def grant(self, grant: Grant | None) -> None:
        """Reply; None if another process has the study."""
        part = self.reply.with_name(f"{self.reply.name}.part")
        part.write_bytes(pickle.dumps(grant))
        part.rename(self.reply)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A study to run. trials: those so far. complete: another process ran all; the best is to be fitted."""

    trials: list[FrozenTrial]
    complete: bool


def run_shared_unit(shared: SharedUnit) -> Iterator[Request | TrialDone | StudyResult]:
    """As `units.run_unit`, for those studies that the main process grants."""
    unit, ids = shared.unit, tuple(shared.unit.studies)
    run = study_runner(unit)
    for id in ids:
        if shared.grants is None:
            reply = shared.folder / f"{id.fold}-{id.layer}-{id.head}"
            yield Request(id=id, unit=ids, reply=reply)
            grant = _wait_for(reply)
        else:
            grant = shared.grants[id]
        if grant is not None:
            yield from run(id, grant.trials, seconds=NO_FURTHER_TRIAL if grant.complete else unit.seconds)


def _wait_for(reply: Path) -> Grant | None:
    while not reply.exists():
        if not reply.parent.is_dir():
            what = "a worker cannot see the temporary folder of its process, which shares the search"
            raise InputError(what, where=os.uname().nodename, do="use workers on the same machine")
        time.sleep(POLL_SECONDS)
    grant: Grant | None = pickle.loads(reply.read_bytes())
    return grant
