"""Half precision: clips whose states overflow are computed again in fp32. Clips too short for the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from layerprobe.cache.store.feature_store import FeatureStore
from layerprobe.cache.store.keys import clip_key
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.doctor.model import check_model
from layerprobe.embed.extract.run import ExtractionSummary, embed
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.device import find_precision, find_training_precision
from tests.run import cli, tone, write_corpus
from tests.tiny import save_tiny

pytestmark = pytest.mark.slow

LARGEST = torch.finfo(torch.float16).max


def save_overflowing(folder: Path, table: Path) -> Path:
    """A model in which some, and not all, of the table's clips exceed the range of fp16 inside block 2."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(save_tiny(folder, "hubert-group")).eval()
    layer = model.encoder.layers[1].feed_forward.output_dense
    model.encoder.layers[1].feed_forward.intermediate_dense.weight.data *= 1_000
    weight = layer.weight.data.clone()
    waves = []
    for clip in read_manifest(table):
        wave, _ = soundfile.read(clip.path, dtype="float32")
        waves.append(torch.from_numpy((wave - wave.mean()) / wave.std())[None])

    def overflows() -> int:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.float16):
            states = [model(wave).last_hidden_state for wave in waves]
        return sum(not state.isfinite().all() for state in states)

    low, high = 1.0, 1e5  # of the factor: none overflows, all do
    for _ in range(40):
        factor = (low * high) ** 0.5
        layer.weight.data = weight * factor
        count = overflows()
        if len(waves) // 3 <= count <= 2 * len(waves) // 3:
            model.save_pretrained(folder)
            return folder
        low, high = (low, factor) if count > len(waves) // 2 else (factor, high)
    raise AssertionError("the clips overflow all at once")


def states_of(summary: ExtractionSummary, table: Path, *, frames: bool) -> list[np.ndarray]:
    """Layer 3 of each clip: (S*D,), or (F, D) where every frame is stored."""
    digests = [hashlib.sha256(clip.path.read_bytes()).hexdigest() for clip in read_manifest(table)]
    keys = [clip_key(digest, start=None, end=None) for digest in digests]
    store = FeatureStore(summary.store)
    return [store.frames("3", key) for key in keys] if frames else list(store.layer("3", keys))


@pytest.mark.parametrize("frames", [False, True], ids=["pooled", "frames"])
def test_clips_that_overflow_have_the_states_of_fp32(tmp_path, frames):
    table = write_corpus(tmp_path, clips=9)
    model = save_overflowing(tmp_path / "model", table)
    settings: dict[str, Any] = {"model": str(model), "dtype": "float32", "device": "cpu", "frames": frames}
    config = EmbedConfig(cache=tmp_path / "fp32", precision="fp32", **settings)
    exact = embed(read_manifest(table), config)
    half = embed(read_manifest(table), replace(config, precision="fp16", cache=tmp_path / "fp16"))
    alone = replace(config, precision="fp16", cache=tmp_path / "alone", batch_seconds=0.1)
    single = embed(read_manifest(table), alone)
    assert exact.recomputed == 0
    assert 2 <= half.recomputed <= 7
    assert single.recomputed == half.recomputed
    assert not half.failures
    assert half.fingerprint != exact.fingerprint
    pairs = [states_of(summary, table, frames=frames) for summary in (exact, half, single)]
    scale = max(float(np.abs(states).max()) for states in pairs[0])
    same = 0
    for expected, batch, one in zip(*pairs, strict=True):
        difference = float(np.abs(batch - expected).max()) / scale
        assert difference < 2e-2
        same += difference < 1e-5
        np.testing.assert_allclose(batch, one, rtol=0, atol=1e-2 * scale)
    assert same == half.recomputed  # the other clips were computed in fp16


def test_the_command_says_how_many_were_computed_again(tmp_path):
    table = write_corpus(tmp_path, clips=5)
    model = save_overflowing(tmp_path / "model", table)
    options = ("--device", "cpu", "--precision", "fp16", "--cache", tmp_path / "features")
    done = cli("embed", table, "--model", model, *options)
    assert done.returncode == 0, done.stderr
    assert "overflowed in half precision and were computed again in fp32" in done.stderr


@pytest.mark.parametrize(("precision", "largest"), [("fp32", 1e-5), ("fp16", 5e-2), ("bf16", 3e-1)])
@pytest.mark.parametrize("family", ["wav2vec2-group", "conformer-rotary", "w2v-bert", "sew-d"])
def test_doctor_checks_the_precision_that_embed_would_use(tmp_path, family, precision, largest):
    model = save_tiny(tmp_path, family)
    check = check_model(EmbedConfig(model=str(model), device="cpu", precision=precision))
    assert check.precision == precision
    # transformers rounds the log-mel features of w2v-bert to float32 before it normalises them.
    assert check.tolerance == (1e-4 if (family, precision) == ("w2v-bert", "fp32") else largest)
    assert not check.overflows
    assert check.exact
    if precision != "fp32":  # it was not fp32 that was checked
        assert check.largest > 1e-4


def test_doctor_says_that_states_overflow_and_checks_what_embed_does_then(tmp_path):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(save_tiny(tmp_path, "hubert-group"))
    model.encoder.layers[1].feed_forward.output_dense.bias.data.fill_(2 * LARGEST)
    model.save_pretrained(tmp_path)
    done = cli("doctor", tmp_path, "--device", "cpu", "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    assert "its states overflow in half precision" in done.stdout
    report = json.loads(cli("doctor", tmp_path, "--device", "cpu", "--precision", "fp16", "--json").stdout)
    assert (report["precision"], report["overflows"]) == ("fp32", True)


@pytest.mark.parametrize("family", ["sew", "w2v-bert"])
def test_a_clip_that_is_too_short_for_the_model_fails_alone(tmp_path, family):
    model = save_tiny(tmp_path / "model", family)
    table = write_corpus(tmp_path, clips=3)
    soundfile.write(tmp_path / "short.wav", tone(0.027, seed=9), 16_000)
    table.write_text(table.read_text() + "short.wav,a,s1\n")
    summary = embed(read_manifest(table), EmbedConfig(model=str(model), cache=tmp_path / "c", device="cpu"))
    assert summary.embedded == 3
    ((path, _, _), reason), *others = summary.failures.items()
    assert not others
    assert path.endswith("short.wav")
    assert reason == "0.027 s are too short for this model, which makes no frame of them; use another model"


def test_the_default_precision_is_fp16_on_a_gpu_and_fp32_elsewhere():
    cuda, cpu, mps = (torch.device(name) for name in ("cuda:1", "cpu", "mps"))
    assert [find_precision("auto", device) for device in (cuda, cpu, mps)] == ["fp16", "fp32", "fp32"]
    assert find_precision("bf16", cuda) == "bf16"
    assert [find_training_precision("auto", device) for device in (cpu, mps)] == ["fp32", "fp32"]
