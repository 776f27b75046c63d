"""Corpora and weights are found on this machine, or reported as missing with the reason."""

from __future__ import annotations

import pytest

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.classify.reproduce.available import find_corpus, find_weights
from layerprobe.classify.reproduce.stand_ins import make_corpora, make_weights
from tests.trees import eyase_names, touch

HUB_ID = "facebook/hubert-base-ls960"


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_corpus_folder_is_found_whatever_the_case_of_its_name(tmp_path):
    touch(tmp_path / "EYASE", *eyase_names())
    assert len(find_corpus("eyase", tmp_path).clips) == len(eyase_names())


def test_errors_say_what_was_looked_for_and_what_was_found(tmp_path):
    with pytest.raises(InputError, match=r"no folder with corpora was given; give --corpora.*FOLDER/eyase"):
        find_corpus("eyase", None)
    with pytest.raises(InputError, match="no such folder"):
        find_corpus("eyase", tmp_path / "nowhere")
    with pytest.raises(InputError, match="looked for a folder 'eyase' and found none"):
        find_corpus("eyase", tmp_path)
    touch(tmp_path / "eyase", "1.wav")
    with pytest.raises(InputError, match=r"fm01_hap \(3\)\.wav.*1\.wav"):
        find_corpus("eyase", tmp_path)


def test_weights_in_a_folder_take_precedence_over_the_hub_cache(tmp_path):
    make_weights(tmp_path, [HUB_ID])
    assert find_weights(HUB_ID, tmp_path, any_size=True) == str(tmp_path / HUB_ID)
    with pytest.raises(ModelError, match=f"has 2 layers of 16, and {HUB_ID} has 12 layers of 768"):
        find_weights(HUB_ID, tmp_path)
    (tmp_path / HUB_ID / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights in"):
        find_weights(HUB_ID, tmp_path)


def test_missing_weights(tmp_path):
    with pytest.raises(ModelError, match="none in the hub's cache"):
        find_weights(HUB_ID, None)
    with pytest.raises(ModelError, match=rf"no {tmp_path}/w/{HUB_ID}, and none in the hub's cache"):
        find_weights(HUB_ID, tmp_path / "w")


def test_stand_in_corpora_have_the_layout_and_labels_of_the_real_ones(tmp_path):
    folder = make_corpora(tmp_path)
    clips = {name: find_corpus(name, folder).clips for name in ("baved", "eyase")}
    assert {clip.labels["emotion"] for clip in clips["baved"]} == {"0", "1", "2"}
    assert {clip.labels["emotion"] for clip in clips["eyase"]} == {"ang", "hap", "neu", "sad"}
    assert len({clip.speaker for clip in clips["eyase"]}) == 3
    before = {path: path.read_bytes() for path in folder.rglob("*.wav")}
    make_corpora(tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*.wav")} == before
