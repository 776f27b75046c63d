"""openSMILE's feature sets as a backbone: equal to the package called directly, whatever the batch."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.models.acoustic import OpenSmileBackbone
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.lookup import find_model_store
from layerprobe.embed.models.presets import FUNCTIONALS, NORMALISED, SPEECH_LEVEL
from tests.run import cli, refused, write_corpus
from tests.sounds import noise

opensmile = pytest.importorskip("opensmile")

RAW = [name for name in FUNCTIONALS if not name.endswith(NORMALISED)]


def direct(name: str, wave: np.ndarray) -> np.ndarray:
    """(D,) of `opensmile.Smile` itself."""
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[FUNCTIONALS[name].feature_set],
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    return smile.process_signal(wave, RATE).to_numpy(np.float32)[0]


def run(backbone: OpenSmileBackbone, waves: list[np.ndarray]) -> np.ndarray:
    """(B, D) of clips padded into a batch."""
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.full((len(waves), int(lengths.max()) + 500), 7.0)  # what is beyond a clip must not be read
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    visits = []
    backbone.run(batch, lengths, lambda *visit: visits.append(visit))
    ((layer, states, frames),) = visits
    assert layer == backbone.layers[0]
    assert frames.tolist() == [1] * len(waves)
    assert states.shape == (len(waves), 1, backbone.widths[0])
    return states[:, 0].numpy()


@pytest.mark.parametrize("name", RAW)
def test_a_batch_equals_the_package_called_for_each_clip(name):
    waves = [noise(length, seed=seed, level=0.1) for seed, length in enumerate((960, 9_000, 20_000))]
    states = run(OpenSmileBackbone(FUNCTIONALS[name]), waves)
    for row, wave in zip(states, waves, strict=True):
        np.testing.assert_array_equal(row, direct(name, wave))


@pytest.mark.parametrize("name", RAW)
def test_a_normalised_clip_has_the_nominal_level(name):
    wave = noise(9_000, seed=3, level=1.0)
    wave = (wave - wave.mean()) / wave.std()  # as the extraction passes it to backbones that normalise
    backbone = OpenSmileBackbone(FUNCTIONALS[name + NORMALISED])
    assert backbone.normalise
    (row,) = run(backbone, [wave])
    np.testing.assert_array_equal(row, direct(name, wave * np.float32(SPEECH_LEVEL)))


def test_samples_beyond_16_bits_are_clipped_and_do_not_wrap_around():
    (name, *_) = RAW
    loud = noise(9_000, seed=4, level=3.0)
    (row,) = run(OpenSmileBackbone(FUNCTIONALS[name]), [loud])
    np.testing.assert_array_equal(row, direct(name, np.clip(loud, -1, 1 - 2**-15)))


def test_the_shortest_clip_is_the_first_that_has_features():
    for name in RAW:
        settings = FUNCTIONALS[name]
        backbone = OpenSmileBackbone(settings)
        assert [backbone.frames(settings.shortest - 1), backbone.frames(settings.shortest)] == [0, 1]
        assert np.isfinite(direct(name, noise(settings.shortest, seed=0, level=0.1))).all()
        with pytest.warns(UserWarning, match="too short"):
            assert np.isnan(direct(name, noise(settings.shortest - 1, seed=0, level=0.1))).all()


def test_each_variant_has_a_fingerprint_of_its_own():
    extractions = [open_backbone(EmbedConfig(model=name))[1] for name in FUNCTIONALS]
    assert len({extraction.fingerprint() for extraction in extractions}) == len(FUNCTIONALS)
    assert {(extraction.stats, extraction.dtype) for extraction in extractions} == {(("mean",), "float32")}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"frames": True}, "omit --frames"), ({"stats": ("mean", "max")}, "omit --stats")],
)
def test_frames_and_statistics_over_them_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        open_backbone(EmbedConfig(model=RAW[0], **options))


def test_without_the_package_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(ModelError, match=r"licence allows research.*pip install 'layerprobe\[opensmile\]'"):
        open_backbone(EmbedConfig(model=RAW[0]))


def test_a_mistyped_feature_set_gets_a_suggestion(tmp_path):
    write_corpus(tmp_path, clips=2)
    line = refused(cli("embed", "clips.csv", "--model", "opensmile:eGeMAPSv01", cwd=tmp_path))
    assert "did you mean opensmile:eGeMAPSv02" in line


@pytest.mark.slow
def test_a_study_on_stored_features(tmp_path: Path):
    """Stored states are those of the files; `normalised` ones do not change with the recording level."""
    write_corpus(tmp_path, clips=12, speakers=4, shortest=0.5)
    names = ("opensmile:eGeMAPSv02", "opensmile:eGeMAPSv02:normalised")
    rows = list(csv.DictReader((tmp_path / "clips.csv").read_text().splitlines()))
    (tmp_path / "quiet").mkdir()
    for row in rows:
        wave, rate = soundfile.read(tmp_path / row["path"], dtype="float32")
        soundfile.write(tmp_path / "quiet" / row["path"], wave / 4, rate, subtype="FLOAT")
    quiet = (tmp_path / "clips.csv").read_text()
    (tmp_path / "quiet" / "clips.csv").write_text(quiet)
    for name in names:
        for table in ("clips.csv", "quiet/clips.csv"):
            done = cli("embed", table, "--model", name, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    level = {}
    for name in names:
        store = find_model_store(tmp_path / "features", name)
        values = dict(zip(store.paths(store.keys()), store.layer("eGeMAPSv02", store.keys()), strict=True))
        first = rows[0]["path"]
        level[name] = [
            next(value for path, value in values.items() if (tmp_path / path) == tmp_path / part / first)
            for part in ("", "quiet")
        ]
    wave, _ = soundfile.read(tmp_path / rows[0]["path"], dtype="float32")
    np.testing.assert_array_equal(level[names[0]][0], direct(names[0], wave))
    loudness = 10  # loudness_sma3_amean
    assert level[names[0]][1][loudness] < 0.8 * level[names[0]][0][loudness]
    assert level[names[1]][1][loudness] == pytest.approx(level[names[1]][0][loudness], rel=0.02)
    words = ("--heads", "logreg", "--trials", "2", "--folds", "2", "--inner-folds", "2", "--jobs", "1")
    done = cli("classify", "clips.csv", "--model", names[1], *words, "--no-audit", "--controls", "none",
               "--out", "run", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    predicted = cli("predict", "run/bundle", "quiet", "--out", "p.csv", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
