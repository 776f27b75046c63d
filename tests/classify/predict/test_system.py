"""Bundles of systems that read every frame predict as they were trained, wherever the sound comes from."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.options import OutputOptions
from layerprobe.cache.store.keys import clip_keys
from layerprobe.classify.commands.predict import PredictOptions, predict
from layerprobe.classify.data.dataset import join_labels
from layerprobe.classify.features.frames import ScaledFrames, read_frames
from layerprobe.classify.heads.frames.fitting import validation_mask
from layerprobe.classify.heads.solvers import frame_training
from layerprobe.classify.heads.solvers.frame_networks import build_bilstm
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.recordings import cut_windows, find_recordings
from layerprobe.classify.predict.transformers_export import export_transformers
from layerprobe.classify.runs.bundle_files import MANIFEST, write_bundle
from layerprobe.classify.serve.app import create_app
from layerprobe.classify.serve.limits import Limits
from layerprobe.embed.models.lookup import find_model_store
from tests.bundles import MODEL, clips_of, make_run
from tests.networks import small_networks
from tests.run import tone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with small_networks(rounds=3):
        yield


def frames_run(folder: Path, **changes: Any) -> Path:
    settings = {"heads": ("bilstm",), "trials": 1, "scalings": ("standard",), **changes}
    return make_run(folder, frames=True, dtype="float32", **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return frames_run(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def bundle(run: Path) -> FrozenBundle:
    loaded = load_bundle(run / "bundle")
    assert isinstance(loaded, FrozenBundle)
    return loaded


def test_it_is_the_network_that_training_on_all_clips_gives(run: Path, bundle: FrozenBundle) -> None:
    clips = clips_of(run)
    store = find_model_store(run.parent / "features", MODEL, frames=True)
    data = join_labels(clips, store, target="emotion")
    everything, params = np.arange(len(data)), dict(bundle.content["params"])
    frames = read_frames(store, "2", data.keys, budget=1 << 30)
    scaled = ScaledFrames.fit(frames, train=everything, scaling=params["scaling"], speakers=data.speakers)
    counts = np.bincount(data.y)
    weights = (len(data) / (len(counts) * counts))[data.y]
    assert params["class_weight"] == "balanced"
    network = frame_training.train(
        build_bilstm, scaled, everything, data.y, validation_mask(data.y, data.speakers, seed=0),
        weights=weights, classes=3, params=params, device="cpu", seed=0,
    )  # fmt: skip
    scores = frame_training.predict(network, scaled, everything, device="cpu")
    expected = softmax(scores / bundle.system.temperature, axis=1)
    place = {key: row for row, key in enumerate(data.keys)}
    rows = [place[str(key)] for key in clip_keys(clips, store.cache)]
    for cache in (None, run.parent / "features"):
        found = [one.probabilities for one in bundle.predict_clips(clips, cache=cache)]
        np.testing.assert_allclose(found, expected[rows], atol=1e-5)


def test_attention_pooling_has_a_bundle(tmp_path: Path) -> None:
    run = frames_run(tmp_path, heads=("attention",))
    bundle, clips = load_bundle(run / "bundle"), clips_of(run)
    cached = [one.probabilities for one in bundle.predict_clips(clips, cache=run.parent / "features")]
    computed = [one.probabilities for one in bundle.predict_clips(clips)]
    np.testing.assert_allclose(computed, cached, atol=1e-5)
    assert isinstance(bundle, FrozenBundle)
    tensors = load_file(run / "bundle" / "head.safetensors")
    assert {name: array.shape for name, array in tensors.items()} == {
        "query": (bundle.extraction.width("2"),), "W": (bundle.extraction.width("2"), 3), "b": (3,),
    }  # fmt: skip


def test_alone_and_in_batches_of_any_size(
    run: Path, bundle: FrozenBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = clips_of(run)[:12]
    done: list[tuple[int, int]] = []
    together = [one.probabilities for one in bundle.predict_clips(clips)]
    monkeypatch.setattr(bundle, "at_once", 5)
    batches = bundle.predict_clips(clips, report=lambda *now: done.append(now))
    np.testing.assert_allclose([one.probabilities for one in batches], together, atol=1e-5)
    assert done == [(0, 12), (5, 12), (5, 12), (10, 12), (10, 12), (12, 12)]
    for clip, expected in zip(clips, together, strict=True):
        np.testing.assert_allclose(bundle.predict_proba(clip.path), expected, atol=1e-5)


def test_the_cache_serves_frames(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = clips_of(run)
    monkeypatch.setattr(FrozenBundle, "load_backbone", lambda _: pytest.fail("the model was loaded"))
    predictions = load_bundle(run / "bundle").predict_clips(clips, cache=run.parent / "features")
    assert all(one.label for one in predictions)


def test_windows_a_server_and_a_stream_give_the_same(
    run: Path, bundle: FrozenBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    samples = (32_767 * np.concatenate([tone(1.25, seed=seed) for seed in (4, 9)])).astype(np.int16)
    soundfile.write(tmp_path / "long.wav", samples, 16_000, subtype="PCM_16")
    (long,) = find_recordings([tmp_path / "long.wav"])
    pieces, faults = cut_windows([long], window=1.0, hop=0.75)
    assert not faults
    expected = [one.probabilities for one in bundle.predict_clips(pieces)]
    assert len({tuple(np.round(row, 4)) for row in expected}) == len(expected) == 3
    waves = [samples[begin : begin + 16_000] for begin in (0, 12_000, 24_000)]
    found = bundle.predict_waves(waves, rate=16_000)
    np.testing.assert_allclose([one.probabilities for one in found], expected, atol=1e-5)

    with TestClient(create_app(bundle, Limits())) as client:
        content = (tmp_path / "long.wav").read_bytes()
        answer = client.post("/predict?window=1&hop=0.75", content=content).json()
    served = [list(window["probabilities"].values()) for window in answer["windows"]]
    np.testing.assert_allclose(served, expected, atol=1e-5)

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(samples.tobytes())))
    predict(
        PredictOptions(
            run / "bundle", stdin=True, window=1.0, hop=0.75, device="cpu", output=OutputOptions(json=True)
        )
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["start"] for line in lines] == [0.0, 0.75, 1.5]
    streamed = [list(line["probabilities"].values()) for line in lines]
    np.testing.assert_allclose(streamed, expected, atol=1e-5)


def test_the_card_says_what_reads_the_states(bundle: FrozenBundle) -> None:
    assert "a small network reads every frame" in (bundle.folder / "README.md").read_text()


def test_transformers_cannot_run_it(bundle: FrozenBundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="transformers cannot run a network that reads every frame"):
        export_transformers(bundle, tmp_path / "out")


def test_the_majority_class_of_frames_and_frames_scaled_by_speaker(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent, tmp_path / "a", ignore=shutil.ignore_patterns("run"))
    constant = load_bundle(frames_run(tmp_path / "a", heads=("majority",)) / "bundle")
    probability = constant.predict_proba([tone(0.5, seed=1), tone(1.0, seed=2)], sampling_rate=16_000)
    np.testing.assert_array_equal(probability[0], probability[1])
    shutil.rmtree(tmp_path / "a" / "run")
    by_speaker = load_bundle(frames_run(tmp_path / "a", scalings=("speaker",)) / "bundle")
    clips = clips_of(tmp_path / "a" / "run")
    cached = by_speaker.predict_clips(clips, cache=tmp_path / "a" / "features")
    again = by_speaker.predict_clips(clips[::-1])
    for one, two in zip(cached, again[::-1], strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-5)
    with pytest.raises(InputError, match="by the other clips of its speaker"):
        by_speaker.predict(tone(1.0, seed=0), sampling_rate=16_000)


@pytest.mark.parametrize(
    ("settings", "tensor"),
    [({"hidden": 9}, ""), ({"hidden": "a"}, ""), ({"width": 10**9}, ""), ({"pooling": None}, "out.bias")],
)
def test_parameters_that_do_not_fit_are_one_line(
    bundle: FrozenBundle, tmp_path: Path, settings: dict[str, Any], tensor: str
) -> None:
    content = json.loads((bundle.folder / MANIFEST).read_text())
    for name in ("format", "files", "sha256"):
        content.pop(name)
    content["system"]["head"]["settings"] |= settings

    def write(folder: Path) -> dict[str, Any]:
        for path in bundle.folder.iterdir():
            if path.name != MANIFEST:
                shutil.copy(path, folder)
        if tensor:
            tensors = load_file(folder / "head.safetensors")
            tensors.pop(tensor)
            save_file(tensors, folder / "head.safetensors")
        return content

    with pytest.raises(InputError) as error:
        load_bundle(write_bundle(tmp_path / "b", write))
    assert "do not fit" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
