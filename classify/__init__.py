"""Classifiers on cached states: searched over layers, scored on unseen speakers, compared and audited.

Packages, from the bottom up: `data` (labels, folds, protocols) and `features` (what trials share); `scores`
and `audit`; `heads` (one file per classifier) and `runs` (the run folder); `search` (nested cross-validation
with Optuna); `controls` (probes, shuffled labels, baselines) and `finetune` (full fine-tuning on the same
folds); `fusion` (several models in one study), `reproduce` (the published table) and `predict` (saved systems
and their predictions); `commands` (the command line). `config.py` holds the options of a study.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerprobe.classify.predict.study import Study


class _CallableModule(ModuleType):
    """This package, which is also a function: `layerprobe.classify("clips.csv", …)`."""

    def __call__(
        self, table: Path | str, *, model: str | Sequence[str], out: Path | str, **options: Any
    ) -> Study:
        """Run the command `classify`, and return its result; a finished run in `out` is only read.

        model: one, or several that `fuse` fuses.
        options: those of the command, by the names in docs/commands.md with underscores, such as
        `heads=["svm"]`, `inner_folds=4` or `cache`. Raises InputError as the command does, and TypeError for
        an option that does not exist.
        """
        from layerprobe.classify.commands.classify import study_from_python

        return study_from_python(table, model=model, out=out, options=options)


sys.modules[__name__].__class__ = _CallableModule
