"""A cache of speech embeddings that loses nothing and never lies.

`python cli.py embed` fills it, `python cli.py cache info` shows what is in it, and this reads it:

    from pathlib import Path
    from layerprobe.cache import FeatureStore

    store = FeatureStore(Path("features/hubert-base/0123456789abcdef"))
    store.extraction.layers                          # ("0", "1", …, "12")
    keys = store.keys()                              # one for each clip: 64 hex digits
    store.paths(keys)                                # where each clip was first seen
    X = store.layer("9", keys)                       # (N, 2 * 768) float32: mean | std
    X = store.layer("9", keys, stats=["mean"])       # (N, 768)
    by_layer = store.layers(["0", "9"], keys)        # {"0": (N, 2 * 768), "9": …}

A clip is known by its content. The key of a file, or of a segment of it, and whether its states are there:

    from layerprobe.cache.identity.digests import DigestCache
    from layerprobe.cache.identity.extraction import clip_key

    wav = Path("clips/a.wav")
    with DigestCache(Path("features")) as digests:       # remembers what it has hashed before
        digest = digests.hash_files([wav])[wav]              # an OSError where the file cannot be read
    key = clip_key(digest, start=None, end=None)
    store.missing([key])                             # [] if it is held

More clips than fit into memory, a batch at a time, in the order in which they lie on disk:

    total = 0.0
    for batch, X in store.iterate("9", rows=4096):   # batch: keys, X: (≤4096, 2 * 768)
        total += X.sum()

scikit-learn, a model that learns batch by batch:

    from sklearn.linear_model import SGDClassifier

    label_of = {key: number % 2 for number, key in enumerate(keys)}
    model = SGDClassifier(loss="log_loss")
    for batch, X in store.iterate("9", stats=["mean"]):
        model.partial_fit(X, [label_of[key] for key in batch], classes=[0, 1])

torch, a layer in memory, and one that streams into as many workers as one likes (a store may be pickled: it
holds a path and opens files in the process that reads them):

    import torch
    from torch.utils.data import DataLoader, IterableDataset, TensorDataset, get_worker_info

    X = torch.from_numpy(store.layer("9", keys))
    y = torch.tensor([label_of[key] for key in keys])
    loader = DataLoader(TensorDataset(X, y), batch_size=64, shuffle=True)

    class Layer(IterableDataset):
        def __init__(self, store, name, keys):
            self.store, self.name, self.keys = store, name, keys

        def __iter__(self):
            worker = get_worker_info()
            part = self.keys if worker is None else self.keys[worker.id :: worker.num_workers]
            for batch, X in self.store.iterate(self.name, part):
                for key, x in zip(batch, X):
                    yield x, label_of[key]

    loader = DataLoader(Layer(store, "9", keys), batch_size=64)

A store of every frame (`embed --frames`) gives one clip at a time:

    frames = FeatureStore(Path("features/hubert-base/fedcba9876543210"))
    states = frames.frames("9", frames.keys()[0])    # (F, 768) float32, one row each 1 / frame_rate seconds

States that are not there are never made up: `cache.common.errors.MissingStatesError` says how many,
which, and the command that computes them; a damaged file is a `StoreError` that names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerprobe.cache.store.feature_store import FeatureStore

__all__ = ["FeatureStore"]


def __getattr__(name: str) -> object:
    # Late, so that `from layerprobe.cache.common.errors import …` costs neither numpy nor HDF5.
    if name == "FeatureStore":
        from layerprobe.cache.store.feature_store import FeatureStore

        return FeatureStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
