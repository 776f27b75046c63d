from __future__ import annotations

import numpy as np
import pytest
import torch

from layerprobe.classify.data.dataset import join_labels
from layerprobe.classify.features.frames import ScaledFrames, read_frames
from layerprobe.classify.heads.solvers import frame_training
from layerprobe.classify.heads.solvers.frame_networks import BiLstm, build_bilstm
from layerprobe.classify.heads.solvers.frame_training import best_device, predict, train
from tests.studies import made_clips, made_frames

PARAMS = {"hidden": 8, "rate": 1e-2, "dropout": 0.1, "pooling": "mean"}
HELD = np.arange(48) >= 36


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScaledFrames, np.ndarray]:
    folder = tmp_path_factory.mktemp("recurrent")
    clips = made_clips(folder / "corpus", speakers=8, each=8, classes=2)
    store = made_frames(folder / "cache", clips)
    data = join_labels(clips, store, target="emotion")
    frames = read_frames(store, "0", data.keys, budget=1 << 30)
    return ScaledFrames.fit(frames, train=np.arange(48), scaling="standard", speakers=None), data.y


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_training, "ROUNDS", 2)


def fit(made: tuple[ScaledFrames, np.ndarray], *, seed: int = 0, pooling: str = "mean") -> BiLstm:
    scaled, y = made
    return train(
        build_bilstm, scaled, np.arange(48), y[:48], HELD, weights=np.ones(48), classes=2,
        params={**PARAMS, "pooling": pooling}, device="cpu", seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_batch_equals_its_clips_alone(pooling: str, made: tuple[ScaledFrames, np.ndarray]) -> None:
    """Padding never matters: neither to the pooling nor to where the backward direction begins."""
    scaled, _ = made
    torch.manual_seed(0)
    model = BiLstm(scaled.width, 3, hidden=8, dropout=0.5, pooling=pooling)
    rows = np.arange(20)
    assert len(set(scaled.lengths[rows].tolist())) > 2
    together = predict(model, scaled, rows, device="cpu")
    alone = np.concatenate([predict(model, scaled, rows[i : i + 1], device="cpu") for i in rows])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_last_state_of_each_direction_is_the_clips_own() -> None:
    torch.manual_seed(0)
    model = BiLstm(4, 2, hidden=3, dropout=0.0, pooling="last").eval()
    frames = torch.randn(1, 7, 4)
    outputs, _ = model.lstm(frames)
    expected = model.out(torch.cat([outputs[:, -1, :3], outputs[:, 0, 3:]], dim=1))
    padded = torch.cat([frames, torch.zeros(1, 5, 4)], dim=1)
    torch.testing.assert_close(model(padded, torch.tensor([7])), expected)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_order_is_learned_where_pooled_means_see_nothing(
    pooling: str, made: tuple[ScaledFrames, np.ndarray]
) -> None:
    scaled, y = made
    test = np.arange(48, 64)
    right = predict(fit(made, pooling=pooling), scaled, test, device="cpu").argmax(1) == y[test]
    assert right.mean() > 0.85


def test_the_same_seed_gives_the_same_numbers_on_any_number_of_threads(
    made: tuple[ScaledFrames, np.ndarray], short: None
) -> None:
    scaled, rows = made[0], np.arange(48, 64)
    first = predict(fit(made), scaled, rows, device="cpu")
    torch.manual_seed(99)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = predict(fit(made), scaled, rows, device="cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - predict(fit(made, seed=1), scaled, rows, device="cpu")).max() > 1e-3


def test_the_generators_of_whoever_calls_are_left_alone(
    made: tuple[ScaledFrames, np.ndarray], short: None
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(made)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.skipif(best_device() != "cuda", reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(made: tuple[ScaledFrames, np.ndarray]) -> None:
    scaled, rows = made[0], np.arange(48, 64)
    model = fit(made)
    here = predict(model, scaled, rows, device="cpu")
    there = predict(model.to("cuda"), scaled, rows, device="cuda")
    np.testing.assert_allclose(here, there, atol=1e-3)
