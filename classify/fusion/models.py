"""The models that a user names for one study: checked, and found in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import StoreOptions
from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.classify.config import MIX, StudyConfig, TaskName
from layerprobe.classify.layer_names import Fuse, layer_parts


@dataclass(frozen=True, kw_only=True)
class Models:
    """Models as typed. stored_elsewhere: whether trials go to a storage that the user names."""

    names: tuple[str, ...]
    fuse: Fuse | None
    source: StoreOptions
    stored_elsewhere: bool
    task: TaskName = "classification"
    quick: bool = False

    def check(self) -> None:
        """Raise InputError for models and options that do not go together."""
        count, source = len(self.names), self.source
        if count > 1 and self.fuse is None:
            do = f"fuse them with --fuse {', '.join(get_args(Fuse))}; or run one each, and compare the runs"
            raise InputError(f"--model names {count} models", do=do)
        if self.fuse is not None and count < 2:
            what = f"--fuse {self.fuse} fuses models, and --model names one"
            raise InputError(what, do="name two models or more")
        if count > 1 and self.task != "classification":
            what = f"--fuse is for classes, and --task is {self.task}"
            raise InputError(what, do="run one each, and compare the runs")
        if count > 1 and self.quick:
            raise InputError("--quick looks at one model, and selects nothing to fuse", do="omit --quick")
        if count > 1 and source.revision is not None:
            what = "--revision does not say which of the models it belongs to"
            raise InputError(what, do="choose states by --fingerprint A,B")
        if count > 1 and self.stored_elsewhere:
            what = "--storage is for one run, and each model has a run of its own"
            raise InputError(what, do="omit it")
        if source.fingerprint is not None and len(source.fingerprint.split(",")) != count:
            do = "give one for each model, in the same order"
            raise InputError(f"--fingerprint {source.fingerprint}", do=do)

    def find_stores(self, study: StudyConfig) -> list[FeatureStore]:
        """The cached states of each model; those of a single one must have the layers that are named."""
        from layerprobe.classify.heads.registry import needs_frames
        from layerprobe.embed.models.lookup import find_model_stores

        parts = [part for name in study.layers for part in layer_parts(name)]
        return find_model_stores(
            self.source,
            self.names,
            layers=",".join(parts) if parts and len(self.names) == 1 else "all",
            virtual_layers=(MIX,),
            stats=study.stats,
            frames=needs_frames(study.heads),
        )


def parse_names(names: Sequence[str], stores: Sequence[FeatureStore]) -> tuple[str, ...]:
    """Names and ranges as typed → layers of any of the stores, those side by side last; none for all."""
    from layerprobe.embed.models.layers import parse_layers

    stored = tuple(dict.fromkeys(layer for store in stores for layer in store.extraction.layers))
    joined = tuple(name for name in names if len(layer_parts(name)) > 1)
    alone = [name for name in names if name not in joined]
    return (*(parse_layers(",".join(alone), stored, also=(MIX,)) if alone else ()), *joined)
