"""Attention pooling: the formula by hand, padding, and what means over frames do not show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from layerprobe.classify.features.frames import Frames, ScaledFrames
from layerprobe.classify.heads.solvers.attention_torch import AttentionPooling
from layerprobe.classify.heads.solvers.frames_torch import predict, train


def network(*, queries: int = 2, width: int = 5) -> AttentionPooling:
    torch.manual_seed(0)
    return AttentionPooling(width, 3, hidden=4, queries=queries, dropout=0.5).eval()


def test_scores_are_those_of_the_formula() -> None:
    model, frames = network(), torch.randn(1, 6, 5)
    W, b, Q, V, c = (
        part.detach().double().numpy()
        for part in (
            *(model.project.weight, model.project.bias, model.query.weight),
            *(model.out.weight, model.out.bias),
        )
    )
    H = np.maximum(frames[0].double().numpy() @ W.T + b, 0)
    share = np.exp(H @ Q.T)
    share /= share.sum(0)
    expected = V @ np.concatenate([share[:, 0] @ H, share[:, 1] @ H]) + c
    with torch.no_grad():
        np.testing.assert_allclose(model(frames, torch.tensor([6]))[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("queries", [1, 4])
def test_padding_has_no_weight(queries: int) -> None:
    model, frames = network(queries=queries), torch.randn(2, 7, 5)
    frames[1, 4:] = 0
    together = model(frames, torch.tensor([7, 4]))
    torch.testing.assert_close(model(frames[1:, :4], torch.tensor([4])), together[1:])
    weights = model.weights(torch.relu(model.project(frames)), torch.tensor([7, 4]))
    assert weights[1, 4:].eq(0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2, queries))


def planted(clips: int = 120) -> tuple[ScaledFrames, np.ndarray]:
    """One of 20 frames, marked in column 0, has the class in column 1; elsewhere column 1 is louder noise."""
    rng = np.random.default_rng(0)
    y = np.arange(clips) % 2
    states = rng.standard_normal((clips, 20, 4)).astype(np.float32)
    states[:, :, 1] *= 2
    marked = rng.integers(0, 20, clips)
    states[np.arange(clips), marked, 0] += 6
    states[np.arange(clips), marked, 1] = np.where(y == 1, 2, -2)
    frames = Frames(
        states=states.reshape(-1, 4),
        begins=np.arange(clips) * 20,
        counts=np.full(clips, 20),
        sums=states.sum(1, dtype=np.float64),
        squares=np.square(states, dtype=np.float64).sum(1),
    )
    return ScaledFrames(frames, train=np.arange(80), scaling="standard", speakers=None), y


def test_the_frame_that_decides_is_found() -> None:
    scaled, y = planted()
    rows, held = np.arange(80), np.arange(80) >= 64
    model = train(
        lambda: AttentionPooling(4, 2, hidden=8, queries=1, dropout=0.0),
        scaled, rows, y[:80], held, weights=np.ones(80), classes=2, rate=3e-2, device="cpu", seed=0,
    )  # fmt: skip
    test = np.arange(80, 120)
    right = predict(model, scaled, test, device="cpu").argmax(1) == y[test]
    means = scaled.batch(np.arange(120))[0].mean(1)
    by_means = LogisticRegression().fit(means[:80], y[:80]).score(means[80:], y[80:])
    assert right.mean() > 0.9
    assert by_means < 0.8
