"""Linear support vector machines of many clips and few columns, by an interior-point method.

SMO, which libsvm uses, changes two multipliers per step. It needs the more steps the larger C and the fewer
the columns: a hundred thousand where this method needs a dozen, each of which solves one small system of
equations (Ferris & Munson 2003; predictor-corrector steps of Mehrotra 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

STEPS = 100  # ten are usual
GAP = 1e-7  # duality gap at the optimum, as a share of the multipliers' sum
ROUNDING = 1e-12  # rounding error of a sum of C, as a share of it
SHORT = 0.995  # share of the way to the nearest bound


class NotSolvedError(ArithmeticError):
    """Rounding errors prevented the method from reaching the optimum."""


@dataclass
class Point:
    """An iterate: v (r + 1,), the weights and the intercept, and four positive numbers for each clip, (n,).

    alpha: the multiplier of its margin. beta: C − alpha. slack, short: by how much its margin is above and
    below 1. At the optimum, alpha · slack and beta · short are zero.
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
        """The largest share of a step, at most 1, that keeps all positive numbers from falling below zero."""
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


def separate(
    Z: np.ndarray, positive: np.ndarray, C: np.ndarray, margin: np.ndarray | float = 1.0
) -> np.ndarray:
    """(r + 1,) weights w and intercept b that minimise |w|²/2 + Σ C · max(0, margin − sign · (Z w + b)).

    Z: (n, r) float64. positive: (n,) bool, clips with sign 1; both signs occur. C: (n,), positive. margin:
    (n,), or one for all. Raises NotSolvedError.
    """
    A = np.hstack([Z, np.ones((len(Z), 1))]) * np.where(positive, 1.0, -1.0)[:, None]
    ones = np.ones(len(A))
    now = Point(np.zeros(A.shape[1]), C / 2, C / 2, ones, ones)
    for _ in range(STEPS):
        gap, allowed = now.gap, GAP * now.alpha.sum()
        unmet = A @ now.v - margin + now.short - now.slack
        slope = -(now.alpha @ A)
        slope[:-1] += now.v[:-1]
        if gap < allowed and C @ np.abs(unmet) < allowed and np.abs(slope).max() < allowed:
            return np.append(now.v[:-1], _intercept(Z @ now.v[:-1], positive, C, margin))
        newton = _Newton(A, now, unmet, slope)
        ahead = newton.step(-now.alpha * now.slack, -now.beta * now.short)
        share = now.furthest(ahead)
        reached = now.towards(ahead, share=share).gap
        aim = (reached / gap) ** 3 * gap / (2 * len(A))
        # Mehrotra's full correction, for a step that the bounds shorten, can make the iterates cycle.
        step = newton.step(
            aim - now.alpha * now.slack - share * ahead.alpha * ahead.slack,
            aim - now.beta * now.short - share * ahead.beta * ahead.short,
        )
        now = now.towards(step, share=SHORT * now.furthest(step))
    raise NotSolvedError(f"no optimum after {STEPS} steps")


def fit_tube(Z: np.ndarray, y: np.ndarray, C: float, epsilon: float) -> np.ndarray:
    """(r + 1,) weights w and intercept b of linear support vector regression (Drucker et al. 1996).

    They minimise |w|²/2 + C Σ max(0, |y − Z w − b| − epsilon): each clip has two margins, one on either side
    of its tube. Z: (n, r) float64. y: (n,). Raises NotSolvedError.
    """
    least, largest = float(y.min()), float(y.max())
    if largest - least <= 2 * epsilon:  # all clips are in one flat tube
        return np.append(np.zeros(Z.shape[1]), (least + largest) / 2)
    above = np.repeat([True, False], len(y))
    margin = np.concatenate([y - epsilon, -y - epsilon])
    return separate(np.vstack([Z, Z]), above, np.full(len(above), C), margin)


def _intercept(values: np.ndarray, positive: np.ndarray, C: np.ndarray, margin: np.ndarray | float) -> float:
    """The best intercept for (n,) values Z w; the middle, as in libsvm, of an interval of equally good ones.

    There is an interval if no clip has exactly its margin: between two kinks, the weights of the terms that
    rise with the intercept and of those that fall are then equal.
    """
    kinks = np.where(positive, margin, np.negative(margin)) - values  # where a clip's term begins or ends
    order = np.argsort(kinks)
    slope = np.cumsum(C[order]) - C[positive].sum()  # of all terms, after each kink
    level = ROUNDING * C.sum()
    at = int(np.argmax(slope >= -level))
    flat = slope[at] <= level
    return float(kinks[order[at : at + 1 + flat]].mean())


class _Newton:
    """Newton's equations at one point, reduced to those for the weights and factorised once."""

    def __init__(self, A: np.ndarray, now: Point, unmet: np.ndarray, slope: np.ndarray) -> None:
        """unmet: residuals of the margins' equations. slope: gradient of the Lagrangian in the weights."""
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
        """The step that changes alpha · slack and beta · short by these amounts, to first order."""
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
