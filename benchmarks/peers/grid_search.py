"""scikit-learn's GridSearchCV of an SVM on given states and folds.

    python grid_search.py JOB.npz

JOB.npz: X (clips, columns), y (clips,), outer (clips,) the fold that tests each clip, inner (folds, clips)
the inner fold that validates each training clip of an outer fold, -1 for its test clips. Prints the UAR of
all test clips together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

C = [0.3, 3.0, 30.0]
GAMMA = [0.3, 1.0, 3.0]  # over the number of columns
CLASS_WEIGHT = [None, "balanced"]
POINTS = len(C) * len(GAMMA) * len(CLASS_WEIGHT)


def main(job: Path) -> None:
    """Search on the inner folds of each outer fold, refit, and predict its test clips once."""
    with np.load(job) as held:
        X, y, outer, inner = (held[name] for name in ("X", "y", "outer", "inner"))
    grid = {
        "svc__C": C,
        "svc__gamma": [gamma / X.shape[1] for gamma in GAMMA],
        "svc__class_weight": CLASS_WEIGHT,
    }
    predicted = np.empty_like(y)
    for fold, validates in enumerate(inner):
        train, test = outer != fold, outer == fold
        search = GridSearchCV(
            make_pipeline(StandardScaler(), SVC()),
            grid,
            scoring="balanced_accuracy",
            cv=PredefinedSplit(validates[train]),
            n_jobs=-1,
        )
        predicted[test] = search.fit(X[train], y[train]).predict(X[test])
    print(balanced_accuracy_score(y, predicted))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
