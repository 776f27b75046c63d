"""Several systems as one: the weighted mean of their probabilities, each on layers of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.heads.numbered import save_part, saved_part
from layerprobe.classify.predict.system import System
from layerprobe.classify.runs.bundle_files import RESTORE

LEAST = 1e-12  # probability, of which the logarithm is a score


@dataclass(frozen=True, kw_only=True)
class EnsembleSystem:
    """Members with their weights, which sum to 1.

    stats: statistics of each layer that a clip's states hold, in this order; a member may read fewer.
    """

    members: tuple[System, ...]
    weights: tuple[float, ...]
    stats: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that its members read, each once."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.names))

    @property
    def by_speaker(self) -> bool:
        """Whether a member scales each clip with the other clips of its speaker."""
        return any(member.by_speaker for member in self.members)

    @property
    def temperature(self) -> float:
        """1: the members' own temperatures calibrate their probabilities."""
        return 1.0

    def count_scores(self) -> int:
        """As of `System`. Raises ValueError where members differ."""
        counts = {member.count_scores() for member in self.members}
        if len(counts) != 1 or len(self.weights) != len(self.members):
            raise ValueError("the members of the ensemble do not fit together")
        return counts.pop()

    def scores(self, states: Mapping[str, Any], speakers: np.ndarray | None = None) -> np.ndarray:
        """As of `System`: (m, K) logarithms of the mean probabilities."""
        average = sum(
            weight * member.probabilities(self._own(states, member), speakers)
            for weight, member in zip(self.weights, self.members, strict=True)
        )
        return np.asarray(np.log(np.maximum(average, LEAST)))

    def _own(self, states: Mapping[str, Any], member: System) -> Mapping[str, Any]:
        """Of each layer that a member reads, the columns of its statistics."""
        if member.stats == self.stats:
            return states
        places = [self.stats.index(name) for name in member.stats]
        own = {}
        for name in member.names:
            columns = np.split(np.asarray(states[name]), len(self.stats), axis=1)
            own[name] = np.hstack([columns[place] for place in places])
        return own

    def save(self, folder: Path) -> dict[str, Any]:
        """As of `System`; the files of each member begin with its number."""
        members = [
            {"weight": weight, "system": save_part(folder, number, member.save)}
            for number, (weight, member) in enumerate(zip(self.weights, self.members, strict=True))
        ]
        return {"members": members, "stats": list(self.stats)}

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> EnsembleSystem:
        """Raises InputError for files that do not belong together."""
        members, weights = [], []
        try:
            for number, one in enumerate(settings["members"]):
                with saved_part(folder, number) as own:
                    members.append(System.load(own, one["system"]))
                weights.append(float(one["weight"]))
            return cls(members=tuple(members), weights=tuple(weights), stats=tuple(settings["stats"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"its files do not belong together ({error})"
            raise InputError(what, where=str(folder), do=RESTORE) from error


def load_system(folder: Path, settings: Mapping[str, Any]) -> System | EnsembleSystem:
    """The system of a bundle, one or an ensemble. Raises InputError."""
    return (EnsembleSystem if "members" in settings else System).load(folder, settings)
