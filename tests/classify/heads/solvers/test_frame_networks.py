from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from layerprobe.classify.features.frames import ScaledFrames, join_frames
from layerprobe.classify.heads.solvers.frame_networks import AttentionPooling, build_attention
from layerprobe.classify.heads.solvers.frame_training import predict, train

WIDTH, CLASSES = 8, 3
PARAMS = {"rate": 1e-2, "dropout": 0.1}


@pytest.fixture(scope="module")
def made() -> tuple[ScaledFrames, np.ndarray]:
    """90 clips of 5 to 40 frames of noise, in one of which a marker stands beside the class."""
    rng = np.random.default_rng(0)
    y, clips = rng.permutation(np.arange(90) % CLASSES), []
    for label in y:
        frames = rng.standard_normal((int(rng.integers(5, 41)), WIDTH))
        frames[rng.integers(len(frames)), [0, 1 + label]] = 12
        clips.append(frames.astype(np.float32))
    joined = join_frames(clips)
    return ScaledFrames.fit(joined, train=np.arange(60), scaling="standard", speakers=None), y


def random_network() -> AttentionPooling:
    torch.manual_seed(0)
    model = AttentionPooling(WIDTH, CLASSES, dropout=0.5)
    with torch.no_grad():
        model.query.copy_(torch.randn(WIDTH))
    return model


def test_it_is_the_attention_of_torch_on_each_clip_alone(made: tuple[ScaledFrames, np.ndarray]) -> None:
    """Padding in a batch affects no number."""
    scaled, _ = made
    model, rows = random_network(), np.arange(20)
    assert len(set(scaled.lengths[rows].tolist())) > 5
    found = predict(model, scaled, rows, device="cpu")
    for row in rows:
        frames = torch.from_numpy(scaled.batch(np.array([row]))[0])
        pooled = scaled_dot_product_attention(model.query[None, None], frames, frames)
        expected = pooled[0] @ model.out.weight.T + model.out.bias
        np.testing.assert_allclose(found[row], expected.detach().numpy()[0], atol=1e-5)


def test_padding_takes_no_part_in_gradients(made: tuple[ScaledFrames, np.ndarray]) -> None:
    scaled, _ = made
    frames, lengths = map(torch.from_numpy, scaled.batch(np.arange(4)))
    longer = torch.cat([frames, torch.full((4, 9, WIDTH), 7.0)], dim=1)
    gradients = []
    for batch in (frames, longer):
        model = random_network().eval()
        model(batch, lengths).square().sum().backward()
        gradients.append(model.query.grad)
    torch.testing.assert_close(*gradients)


def test_a_marked_frame_is_found_and_held_out_clips_decide_when_to_stop(
    made: tuple[ScaledFrames, np.ndarray],
) -> None:
    scaled, y = made
    held, test = np.arange(60) >= 45, np.arange(60, 90)
    model = train(
        build_attention, scaled, np.arange(60), y[:60], held, weights=np.ones(60), classes=CLASSES,
        params=PARAMS, device="cpu", seed=0,
    )  # fmt: skip
    assert (predict(model, scaled, test, device="cpu").argmax(1) == y[test]).mean() > 0.9
    begin = AttentionPooling(WIDTH, CLASSES, dropout=0.0)
    assert not begin.query.any()  # a plain mean
