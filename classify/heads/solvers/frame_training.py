"""Training and prediction of networks on padded batches of frames; padding affects no number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

# cuBLAS is deterministic only with a workspace of fixed size, read when CUDA is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import numpy as np
import torch
from torch import Tensor, nn

from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.heads.base import Params
from layerprobe.classify.heads.solvers.stopping import validation_score

BATCH = 16  # clips
LEAST_STEPS = 10  # per round, which is one pass over the clips or as many passes as that takes
ROUNDS = 60
PATIENCE = 8  # rounds without a higher recall on the validation clips
LARGEST_NORM = 1.0  # of the gradient
Net = TypeVar("Net", bound=nn.Module)
Build = Callable[[int, int, Params], Net]  # columns, classes, parameters of a trial -> network


def train(
    build: Build[Net],
    scaled: ScaledFrames,
    rows: np.ndarray,
    y: np.ndarray,
    validation: np.ndarray,
    *,
    weights: np.ndarray,
    classes: int,
    params: Params,
    device: str,
    seed: int,
) -> Net:
    """Fit a network to the training rows outside `validation` by Adam, and return that of the best round.

    rows: (n,) clip numbers. y: (n,) classes, or (n, K) shares. validation: (n,) booleans. weights: (n,) of
    the clips in the loss. params: `rate` is Adam's. The best round has the highest mean recall on the
    validation clips, of shares the lowest loss; among equals, the lowest loss.
    """
    true = y if y.ndim == 1 else y.astype(np.float32)
    with _reproducible(seed, device):
        model = build(scaled.width, classes, params).to(device)
        optimiser = torch.optim.Adam(model.parameters(), lr=params["rate"])
        fitted, held_out = np.flatnonzero(~validation), np.flatnonzero(validation)
        order = np.random.default_rng(seed)
        best, state, waited = (-np.inf, -np.inf), _copy(model), 0
        steps = -(-len(fitted) // BATCH)
        for _ in range(ROUNDS):
            model.train()
            passes = [order.permutation(fitted) for _ in range(-(-LEAST_STEPS // steps))]
            for batch in (part for each in passes for part in np.array_split(each, steps)):
                scores = model(*_tensors(scaled, rows[batch], device))
                losses = nn.functional.cross_entropy(scores, _to(true[batch], device), reduction="none")
                weight = _to(weights[batch].astype(np.float32), device)
                optimiser.zero_grad()
                ((losses * weight).sum() / weight.sum()).backward()
                nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
                optimiser.step()
            reached = validation_score(
                predict(model, scaled, rows[held_out], device=device), y[held_out], classes
            )
            waited = 0 if reached[0] > best[0] else waited + 1
            if reached > best:
                best, state = reached, _copy(model)
            if waited == PATIENCE:
                break
        model.load_state_dict(state)
    return model


def predict(model: nn.Module, scaled: ScaledFrames, rows: np.ndarray, *, device: str) -> np.ndarray:
    """(m, K) scores of the clips `rows`. Clips of similar length share a batch, which changes no score."""
    with _one_thread(), torch.inference_mode():
        model.eval()
        order = np.argsort(scaled.lengths[rows], kind="stable")
        scores = [
            model(*_tensors(scaled, rows[batch], device)).cpu().numpy()
            for batch in np.array_split(order, -(-len(rows) // BATCH))
        ]
    out = np.empty((len(rows), scores[0].shape[1]))
    out[order] = np.concatenate(scores)
    return out


def best_device() -> str:
    """`cuda` if available, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _tensors(scaled: ScaledFrames, rows: np.ndarray, device: str) -> tuple[Tensor, Tensor]:
    frames, lengths = scaled.batch(rows)
    return _to(frames, device), torch.from_numpy(lengths)


def _to(array: np.ndarray, device: str) -> Tensor:
    return torch.from_numpy(array).to(device)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@contextmanager
def _reproducible(seed: int, device: str) -> Iterator[None]:
    """Seeded and on one thread; the caller's random generators are restored."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    before = torch.backends.cudnn.deterministic
    with torch.random.fork_rng(devices), _one_thread():
        torch.manual_seed(seed)
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = before


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are then equal in every process, whatever its number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
