"""Training and prediction of a bidirectional LSTM on padded batches; padding affects no number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

# cuBLAS is deterministic only with a workspace of fixed size, read when CUDA is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from layerprobe.classify.features.frames import ScaledFrames
from layerprobe.classify.heads.base import Params
from layerprobe.classify.tasks.confusion import confusion, recall

BATCH = 16  # clips
LEAST_STEPS = 10  # per round, which is one pass over the clips or as many passes as that takes
ROUNDS = 60
PATIENCE = 8  # rounds without a higher recall on the validation clips
LARGEST_NORM = 1.0  # of the gradient
Net = TypeVar("Net", bound=nn.Module)


class BiLstm(nn.Module):
    """Dropout, one bidirectional LSTM, pooling over a clip's own frames, dropout, one linear layer.

    pooling: `mean` of both directions' outputs over the clip, or `last`, the final output of each direction.
    """

    def __init__(self, width: int, classes: int, *, hidden: int, dropout: float, pooling: str) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, classes)
        self.pooling = pooling

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) zero-padded frames and (B,) lengths, on the CPU → (B, K) scores."""
        packed = pack_padded_sequence(self.dropout(frames), lengths, batch_first=True, enforce_sorted=False)
        outputs, (last, _) = self.lstm(packed)
        if self.pooling == "last":
            pooled = torch.cat([last[0], last[1]], dim=1)
        else:
            padded, _ = pad_packed_sequence(outputs, batch_first=True)  # zeros after each clip's end
            pooled = padded.sum(1) / lengths.to(padded.device)[:, None]
        return self.out(self.dropout(pooled))


def train(
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
) -> BiLstm:
    """Fit on the training rows outside `validation`, and return the model of the best round.

    rows: (n,) clip numbers. y: (n,) classes, or (n, K) shares. validation: (n,) booleans. weights: (n,) of
    the clips in the loss. The best round has the highest mean recall on the validation clips, of shares the
    lowest loss; among equals, the lowest loss.
    """

    def build() -> BiLstm:
        return BiLstm(
            scaled.width,
            classes,
            hidden=params["hidden"],
            dropout=params["dropout"],
            pooling=params["pooling"],
        )

    return train_network(
        build,
        scaled,
        rows,
        y,
        validation,
        weights=weights,
        classes=classes,
        rate=params["rate"],
        device=device,
        seed=seed,
    )


def train_network(
    build: Callable[[], Net],
    scaled: ScaledFrames,
    rows: np.ndarray,
    y: np.ndarray,
    validation: np.ndarray,
    *,
    weights: np.ndarray,
    classes: int,
    rate: float,
    device: str,
    seed: int,
) -> Net:
    """As `train`, of the network that `build` makes, with Adam at this rate."""
    true = y if y.ndim == 1 else y.astype(np.float32)
    with _reproducible(seed, device):
        model = build().to(device)
        optimiser = torch.optim.Adam(model.parameters(), lr=rate)
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
            reached = _evaluate(predict(model, scaled, rows[held_out], device=device), y[held_out], classes)
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


def restore(
    tensors: Mapping[str, np.ndarray], *, width: int, classes: int, hidden: int, pooling: str
) -> BiLstm:
    """The network with these parameters, for prediction. Raises ValueError where they do not fit it."""
    try:
        with torch.device("meta"):  # nothing is allocated or drawn
            model = BiLstm(width, classes, hidden=hidden, dropout=0.0, pooling=pooling)
        model.load_state_dict({name: torch.from_numpy(a) for name, a in tensors.items()}, assign=True)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"the network's parameters do not fit ({_first_line(error)})") from error
    return model.eval()


def best_device() -> str:
    """`cuda` if available, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _evaluate(scores: np.ndarray, y: np.ndarray, classes: int) -> tuple[float, float]:
    """Mean recall over the classes that occur, and the mean log likelihood; of shares the latter only."""
    top = scores - scores.max(1, keepdims=True)
    log_p = top - np.log(np.exp(top).sum(1, keepdims=True))
    if y.ndim == 2:
        likelihood = float((y * log_p).sum(1).mean())
        return likelihood, likelihood
    counts = confusion(y, scores.argmax(1), classes=classes)
    present = counts.sum(1) > 0
    return float(recall(counts)[present].mean()), float(log_p[np.arange(len(y)), y].mean())


def _tensors(scaled: ScaledFrames, rows: np.ndarray, device: str) -> tuple[Tensor, Tensor]:
    frames, lengths = scaled.batch(rows)
    return _to(frames, device), torch.from_numpy(lengths)


def _to(array: np.ndarray, device: str) -> Tensor:
    return torch.from_numpy(array).to(device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


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
