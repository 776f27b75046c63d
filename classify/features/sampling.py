"""More training rows: over-sampling, SMOTE and mixup of states. Test rows are never changed or read.

`over` repeats random clips of each class until all have as many as the largest. `smote` adds states between
a random clip of the class and one of its NEIGHBOURS nearest of that class instead (Chawla et al. 2002), by
distance in the standardised states. `mixup` adds convex combinations of random pairs of clips (Zhang et al.
2018), half as many as there are clips: the loss of a soft label is that of two rows with the same states,
one of each class, weighted by the shares.

Sampled rows are rows of the fold as any other, computed once for all trials; imbalanced-learn would return a
copy of the whole training part for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from layerprobe.classify.config import Sampling
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates, Preprocessing

NEIGHBOURS = 5
ALPHA = 0.4  # of the beta distribution of shares
LEAST_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """New rows (1 - share) · X[first] + share · X[second], of the class y, each with a weight.

    first, second: (r,) indices into the training rows. share: (r,) float32. y: (r,). weight: (r,).
    """

    first: np.ndarray
    second: np.ndarray
    share: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Training rows (n, D) → (r, D) new ones."""
        share = self.share[:, None]
        return ((1 - share) * X[self.first] + share * X[self.second]).astype(np.float32)


def sampled_features(features: FoldFeatures, kind: Sampling, *, seed: int) -> FoldFeatures:
    """The same fold with more training rows; itself for `none`."""
    if kind == "none":
        return features
    label = ("sampled", kind, features.labels_digest)
    recipe: Recipe = features.cached(
        label, lambda: make_recipe(features.y, kind, lambda: _standardised(features), seed=seed)
    )
    cache, known = features._cache.section(label), features.rows
    layers = []
    for number, states in enumerate(features.layers):

        def load(states: LayerStates = states, number: int = number) -> np.ndarray:
            def make() -> np.ndarray:
                X = states.load()
                return np.concatenate([X, recipe.apply(X[features.train])])

            return np.asarray(cache.get(("states", number), make))

        speakers = states.speakers
        if speakers is not None:
            speakers = np.concatenate([speakers, speakers[features.train[recipe.first]]])
        layers.append(replace(states, load=load, speakers=speakers))
    y = np.zeros(known + len(recipe.y), np.int64)
    y[features.train], y[known:] = features.y, recipe.y
    return FoldFeatures(
        tuple(layers),
        y,
        train=np.concatenate([features.train, np.arange(known, len(y))]),
        test=features.test,
        classes=features.classes,
        cache=cache,
        landmarks=features.landmarks,
        shares=np.concatenate([np.ones(len(features.y)), recipe.weight]),
    )


def make_recipe(y: np.ndarray, kind: Sampling, states: Callable[[], np.ndarray], *, seed: int) -> Recipe:
    """New rows for training rows with classes y (n,). states: returns their standardised states (n, D)."""
    from sklearn.neighbors import NearestNeighbors  # here, as few studies need it

    rng = np.random.default_rng(seed)
    if kind == "mixup":
        pairs = rng.permutation(len(y))[: len(y) // 2 * 2].reshape(2, -1)
        share = np.clip(rng.beta(ALPHA, ALPHA, pairs.shape[1]), LEAST_SHARE, 1 - LEAST_SHARE)
        first, second, both = np.tile(pairs[0], 2), np.tile(pairs[1], 2), np.tile(share, 2)
        return Recipe(
            first=first,
            second=second,
            share=both.astype(np.float32),
            y=y[pairs.ravel()],
            weight=np.concatenate([1 - share, share]),
        )
    counts = np.bincount(y)
    drawn, partners = [], []
    for label in np.flatnonzero((counts > 0) & (counts < counts.max())).tolist():
        rows = np.flatnonzero(y == label)
        picked = rng.integers(len(rows), size=counts.max() - len(rows))
        partner = picked
        if kind == "smote" and len(rows) > 1:
            near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows) - 1), algorithm="brute")
            neighbours = near.fit(states()[rows]).kneighbors(return_distance=False)  # without itself
            partner = neighbours[picked, rng.integers(neighbours.shape[1], size=len(picked))]
        drawn.append(rows[picked])
        partners.append(rows[partner])
    first, second = (np.concatenate([np.empty(0, np.int64), *each]) for each in (drawn, partners))
    share = rng.random(len(first)) if kind == "smote" else np.zeros(len(first))
    return Recipe(
        first=first, second=second, share=share.astype(np.float32), y=y[first], weight=np.ones(len(first))
    )


def grown_size(y: np.ndarray, kinds: Sequence[str]) -> int:
    """The most training rows that a fit to rows with classes y (n,) has, of these kinds of sampling."""
    counts = np.bincount(y)
    sizes = {"mixup": len(y) + len(y) // 2 * 2}
    balanced = int((counts > 0).sum() * counts.max())
    return max(len(y), *(sizes.get(kind, balanced) for kind in kinds if kind != "none"), 0)


def _standardised(features: FoldFeatures) -> np.ndarray:
    """(n, D): the training states of all layers and statistics, columns standardised."""
    columns = [
        features.scaled(Preprocessing(name, "standard", layer=number))[0]
        for number, states in enumerate(features.layers)
        for name in states.stats
    ]
    return np.hstack(columns)
