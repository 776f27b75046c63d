"""Solvers of logistic regression on the principal axes, along the path of C that the head `logreg` searches.

    python benchmarks/bench_logreg.py [--seeds 3] [--repeats 5]

Compares the solver of `classify/heads/solvers/newton.py` with scikit-learn's, on the same orthogonal basis
and penalties, one thread each, every C starting from the solution of the one before. Columns are synthetic:
`independent`, or `correlated` as a network's states are (100 factors of falling variance, and noise). Prints
one JSON line per shape and solver: `seconds`, the minimum CPU time of one path over the repeats, summed over
the seeds; `differ`, how many of `predictions` are not those of the reference (scikit-learn's lbfgs at a
tolerance of 1e-9); `largest_gap` between the two best scores of these clips; `score_difference`, the largest
from the reference.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.machine import report
from layerprobe.classify.features.scaling import orthogonal_columns, standardise
from layerprobe.classify.heads.logreg import LOGREG
from layerprobe.classify.heads.solvers.newton import Solver, cross_entropy

PATH = LOGREG.path[1]
SHAPES = (  # training clips, columns, classes
    (300, 64, 3),
    (1_000, 64, 3),
    (1_000, 64, 7),
    (1_000, 768, 3),
    (1_000, 1_536, 7),
    (4_000, 256, 3),
)
KINDS = ("independent", "correlated")
TESTED = 500
TOLERANCE, REFERENCE = 1e-6, 1e-9
LARGEST_HESSIAN = 500  # columns times classes, above which newton-cholesky takes minutes per path

# (Z, y, Z of test rows, power) → centred scores of the test rows for each C
Solve = Callable[[np.ndarray, np.ndarray, np.ndarray, float], list[np.ndarray]]


def main() -> None:
    """Compare all solvers on every shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("error")  # no convergence
    with threadpool_limits(1):
        for kind in KINDS:
            for shape in SHAPES:
                measure(kind, shape, seeds=arguments.seeds, repeats=arguments.repeats)


def measure(kind: str, shape: tuple[int, int, int], *, seeds: int, repeats: int) -> None:
    """Print one line per solver."""
    clips, columns, classes = shape
    solvers = {"ours": ours, "lbfgs": scikit_learn("lbfgs", TOLERANCE)}
    if columns * classes <= LARGEST_HESSIAN:
        solvers["newton-cholesky"] = scikit_learn("newton-cholesky", TOLERANCE)
    totals: dict[str, dict[str, float]] = {name: {} for name in solvers}
    for seed in range(seeds):
        data = problem(kind, clips, columns, classes, seed=seed)
        expected = scikit_learn("lbfgs", REFERENCE)(*data)
        fastest = dict.fromkeys(solvers, np.inf)
        for repeat in range(repeats):  # solvers take turns, so that a slow minute meets all of them
            for name, solve in solvers.items():
                started = time.process_time()
                scores = solve(*data)
                fastest[name] = min(fastest[name], time.process_time() - started)
                if not repeat:
                    compare(totals[name], scores, expected)
        for name, seconds in fastest.items():
            totals[name]["seconds"] = totals[name].get("seconds", 0.0) + seconds
    sizes = {"columns are": kind, "clips": clips, "columns": columns, "classes": classes}
    for name, total in totals.items():
        report("logreg", {**sizes, "solver": name, **total}, device=torch.device("cpu"))


def ours(Z: np.ndarray, y: np.ndarray, Z_test: np.ndarray, power: float) -> list[np.ndarray]:
    """The solver behind the head `logreg`, for three classes or more."""
    classes = int(y.max()) + 1
    solver = Solver(Z, y, np.ones(len(y)), classes=classes, loss=cross_entropy, curvature=1 / classes)
    fits = [solver.solve(penalty=power / C) for C in PATH]
    scores = [Z_test @ W + b for W, b in fits]
    return [each - each.mean(1, keepdims=True) for each in scores]


def scikit_learn(solver: str, tol: float) -> Solve:
    """One of scikit-learn's solvers, in double precision."""

    def solve(Z: np.ndarray, y: np.ndarray, Z_test: np.ndarray, power: float) -> list[np.ndarray]:
        exact, exact_test = Z.astype(np.float64), Z_test.astype(np.float64)
        model = LogisticRegression(solver=solver, warm_start=True, tol=tol, max_iter=100_000)
        return [model.set_params(C=C / power).fit(exact, y).decision_function(exact_test) for C in PATH]

    return solve


def compare(total: dict[str, float], scores: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Add the differences from the reference to `total`."""
    for own, reference in zip(scores, expected, strict=True):
        differ = own.argmax(1) != reference.argmax(1)
        best = np.sort(reference, axis=1)
        worst = {
            "largest_gap": (best[:, -1] - best[:, -2])[differ].max(initial=0.0),
            "score_difference": np.abs(own - reference).max(),
        }
        total["predictions"] = total.get("predictions", 0) + len(differ)
        total["differ"] = total.get("differ", 0) + int(differ.sum())
        for name, value in worst.items():
            total[name] = max(total.get(name, 0.0), float(value))


def problem(kind: str, clips: int, columns: int, classes: int, *, seed: int) -> tuple[Any, ...]:
    """The orthogonal basis of the training rows, their classes, the test rows in that basis, and the
    power."""
    rng = np.random.default_rng(seed)
    count = clips + TESTED
    y = rng.integers(0, classes, count)
    y[:classes] = np.arange(classes)
    if kind == "independent":
        X = rng.standard_normal((count, columns)) + 0.3 * rng.standard_normal((classes, columns))[y]
    else:
        factors = rng.standard_normal((count, 100)) + 0.3 * rng.standard_normal((classes, 100))[y]
        factors *= 0.97 ** np.arange(100)
        X = factors @ rng.standard_normal((100, columns)) + rng.standard_normal((count, columns))
    train, test = standardise(*np.split(X.astype(np.float32), [clips]), variance=True)
    Z, Z_test = orthogonal_columns(train, test)
    return Z, y[:clips], Z_test, float(np.square(train).sum(dtype=np.float64) / clips)


if __name__ == "__main__":
    main()
