"""Linear support vector machines of many clips and few columns, by an interior-point method.

SMO, which libsvm uses, moves two multipliers a step, and takes the more steps the larger C is and the fewer
the columns: a hundred thousand where this takes a dozen, each for one small system of equations (Ferris &
Munson 2003; predictor and corrector as Mehrotra 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

STEPS = 100  # ten are usual
GAP = 1e-7  # between the objective and its bound, as a share of the multipliers' sum, which bounds both
ROUNDING = 1e-12  # of a sum of C, as a share of it
SHORT = 0.995  # of the way to the nearest bound


class NotSolvedError(ArithmeticError):
    """Rounding keeps the method from the optimum."""


@dataclass
class Point:
    """Where the method is: v (r + 1,) weights and the intercept, and for each clip four positive numbers.

    alpha: the multiplier of its margin, and beta, what is left of it up to C. slack, short: by how much its
    margin is above and below 1. At the optimum alpha · slack and beta · short are zero.
    """

    v: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    slack: np.ndarray
    short: np.ndarray

    @property
    def gap(self) -> float:
        return float(self.alpha @ self.slack + self.beta @ self.short)

    def towards(self, step: Point, *, share: float) -> Point:
        return Point(
            self.v + share * step.v,
            self.alpha + share * step.alpha,
            self.beta + share * step.beta,
            self.slack + share * step.slack,
            self.short + share * step.short,
        )

    def furthest(self, step: Point) -> float:
        """The share of a step, at most 1, after which the first of the positive numbers is zero."""
        shrinking = (
            float((-moved / now).max())
            for now, moved in (
                (self.alpha, step.alpha),
                (self.beta, step.beta),
                (self.slack, step.slack),
                (self.short, step.short),
            )
        )
        return 1 / max(1.0, *shrinking)


def separate(Z: np.ndarray, positive: np.ndarray, C: np.ndarray) -> np.ndarray:
    """(r + 1,) weights w and intercept b that minimise |w|²/2 + Σ C · max(0, 1 − sign · (Z w + b)).

    Z: (n, r) float64. positive: (n,) bool, which clips have sign 1; both signs occur. C: (n,), positive.
    Raises NotSolvedError.
    """
    A = np.hstack([Z, np.ones((len(Z), 1))]) * np.where(positive, 1.0, -1.0)[:, None]
    ones = np.ones(len(A))
    now = Point(np.zeros(A.shape[1]), C / 2, C / 2, ones, ones)
    for _ in range(STEPS):
        gap, allowed = now.gap, GAP * now.alpha.sum()
        unmet = A @ now.v - 1 + now.short - now.slack
        slope = -(now.alpha @ A)
        slope[:-1] += now.v[:-1]
        if gap < allowed and C @ np.abs(unmet) < allowed and np.abs(slope).max() < allowed:
            return np.append(now.v[:-1], _intercept(Z @ now.v[:-1], positive, C))
        newton = _Newton(A, now, unmet, slope)
        ahead = newton.step(-now.alpha * now.slack, -now.beta * now.short)
        share = now.furthest(ahead)
        reached = now.towards(ahead, share=share).gap
        aim = (reached / gap) ** 3 * gap / (2 * len(A))
        # The whole of the correction, for a step that the bounds cut short, can send it round in circles.
        step = newton.step(
            aim - now.alpha * now.slack - share * ahead.alpha * ahead.slack,
            aim - now.beta * now.short - share * ahead.beta * ahead.short,
        )
        now = now.towards(step, share=SHORT * now.furthest(step))
    raise NotSolvedError(f"no optimum after {STEPS} steps")


def _intercept(values: np.ndarray, positive: np.ndarray, C: np.ndarray) -> float:
    """The best intercept for (n,) values Z w; where a whole interval is best, its middle, as libsvm's.

    An interval is, where no clip's margin is exactly 1: then the terms that rise with the intercept and those
    that fall weigh the same between two clips' turns.
    """
    turns = np.where(positive, 1, -1) - values  # where a clip's term ends or begins
    order = np.argsort(turns)
    slope = np.cumsum(C[order]) - C[positive].sum()  # of all terms, after each turn
    level = ROUNDING * C.sum()
    at = int(np.argmax(slope >= -level))
    flat = slope[at] <= level
    return float(turns[order[at : at + 1 + flat]].mean())


class _Newton:
    """Newton's equations at one point, brought down to those for the weights and factored once."""

    def __init__(self, A: np.ndarray, now: Point, unmet: np.ndarray, slope: np.ndarray) -> None:
        """unmet: by how much the margins' equations fail. slope: the Lagrangian's along the weights."""
        self._A, self._now, self._unmet, self._slope = A, now, unmet, slope
        self._weight = 1 / (now.slack / now.alpha + now.short / now.beta)
        scaled = A * np.sqrt(self._weight)[:, None]
        curvature = scaled.T @ scaled
        curvature.flat[: -1 : len(curvature) + 1] += 1  # the intercept, last, is free
        try:
            self._factor = scipy.linalg.cho_factor(curvature, overwrite_a=True, check_finite=False)
        except scipy.linalg.LinAlgError as error:
            raise NotSolvedError(str(error)) from error

    def step(self, slack_aim: np.ndarray, short_aim: np.ndarray) -> Point:
        """The step that changes alpha · slack and beta · short by so much, to first order."""
        now = self._now
        pull = self._weight * (slack_aim / now.alpha - short_aim / now.beta - self._unmet)
        v = scipy.linalg.cho_solve(self._factor, pull @ self._A - self._slope, check_finite=False)
        alpha = pull - self._weight * (self._A @ v)
        return Point(
            v,
            alpha,
            -alpha,
            (slack_aim - now.slack * alpha) / now.alpha,
            (short_aim + now.short * alpha) / now.beta,
        )
