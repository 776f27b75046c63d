from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.features.fold_features import FoldFeatures, LayerStates, Preprocessing
from layerprobe.classify.features.frames import Frames, ScaledFrames, join_frames
from layerprobe.classify.features.lru_cache import LruCache
from layerprobe.classify.heads.fitted import TrainingRows
from layerprobe.classify.heads.frames.attention import ATTENTION, Attentive
from layerprobe.classify.heads.frames.fitting import validation_mask
from layerprobe.classify.heads.registry import KINDS, heads_of
from layerprobe.classify.heads.solvers import frame_training
from layerprobe.classify.heads.solvers.frame_networks import build_attention
from layerprobe.classify.heads.solvers.frame_training import predict, train

PREP = Preprocessing("frame", "standard")
PARAMS = dict(ATTENTION.start)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_training, "ROUNDS", 4)


def made(y: np.ndarray | None = None) -> tuple[FoldFeatures, Frames]:
    """A fold of 48 training and 16 test clips of frames whose mean differs between two classes."""
    rng = np.random.default_rng(0)
    label = np.arange(64) % 2
    clips = [rng.standard_normal((int(rng.integers(3, 20)), 5)) + 0.8 * k for k in label]
    frames = join_frames([clip.astype(np.float32) for clip in clips])
    states = LayerStates(lambda: np.empty((64, 0)), ("frame",), 5, np.arange(64) // 8, lambda: frames)
    fold = FoldFeatures(
        (states,), label if y is None else y, train=np.arange(48), test=np.arange(48, 64), classes=2,
        cache=LruCache(1 << 30),
    )  # fmt: skip
    return fold, frames


def test_a_fold_and_the_fit_to_all_clips_are_the_same_training(tmp_path: Path) -> None:
    features, frames = made()
    speakers = np.arange(48) // 8
    scaled = ScaledFrames.fit(frames, train=features.train, scaling="standard", speakers=None)
    network = train(
        build_attention, scaled, features.train, features.y, validation_mask(features.y, speakers, seed=0),
        weights=np.ones(48), classes=2, params=PARAMS, device="cpu", seed=0,
    )  # fmt: skip
    expected = predict(network, scaled, features.test, device="cpu")
    (found,) = ATTENTION.fit(features, PREP, PARAMS, (1.0,), 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    trained = join_frames([frames.of(clip) for clip in range(48)])
    own = ScaledFrames.fit(trained, train=features.train, scaling="standard", speakers=None)
    rows = TrainingRows(
        Z=np.empty((48, 0), np.float32), y=features.y, classes=2, frames=own, speakers=speakers
    )
    assert ATTENTION.refit is not None
    fitted = ATTENTION.refit(rows, PARAMS, 1.0, 0)
    loaded = KINDS["attentive"].load(tmp_path, fitted.save(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["head.safetensors"]
    for head in (fitted, loaded):
        np.testing.assert_allclose(head.scores(scaled)[features.test], expected, atol=1e-5)
    assert ATTENTION.parameters is not None
    assert ATTENTION.parameters(5, 2, PARAMS) == sum(p.numel() for p in network.parameters())


def test_the_weights_of_a_clips_frames_sum_to_one_and_follow_the_query() -> None:
    head = Attentive(query=np.array([2.0, 0, 0, 0], np.float32), W=np.eye(4, 2), b=np.zeros(2))
    weights = head.weights(np.diag([1.0, 1, 1, 1]).astype(np.float32))
    np.testing.assert_allclose(weights, np.exp([1, 0, 0, 0]) / (np.e + 3), rtol=1e-6)


def test_shares_of_votes_stop_at_the_lowest_loss() -> None:
    votes = np.random.default_rng(1).multinomial(6, (0.3, 0.7), 64) / 6
    votes[::2] = votes[::2, ::-1]
    features, frames = made(votes)
    (scores,) = heads_of("soft")["attention"].fit(
        features, PREP, {**PARAMS, "class_weight": "none"}, (1.0,), 0
    )
    scaled = ScaledFrames.fit(frames, train=features.train, scaling="standard", speakers=None)
    network = train(
        build_attention, scaled, features.train, features.y,
        validation_mask(features.y.argmax(1), np.arange(48) // 8, seed=0),
        weights=np.ones(48), classes=2, params=PARAMS, device="cpu", seed=0,
    )  # fmt: skip
    np.testing.assert_allclose(scores, predict(network, scaled, features.test, device="cpu"), atol=1e-6)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="copy the bundle again"):
        Attentive.load(tmp_path, {})
