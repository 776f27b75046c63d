"""A bundle predicts with the features of training, and refuses what it was not made for."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.cache.identity.extraction import Extraction
from layerprobe.cache.store.keys import clip_keys
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.predict.frozen import FrozenBundle
from layerprobe.classify.predict.recordings import find_recordings
from layerprobe.classify.runs.bundle_files import MANIFEST, write_bundle
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.in_memory import StateExtractor
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import read_manifest
from layerprobe.embed.models.lookup import find_model_store
from tests.bundles import MODEL, clips_of, make_run
from tests.run import tone
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("bundle"), heads=("svm",))


def test_states_equal_those_of_training_alone_and_in_batches(run: Path) -> None:
    clips = clips_of(run)
    bundle = load_bundle(run / "bundle")
    assert isinstance(bundle, FrozenBundle)
    store = find_model_store(run.parent / "features", MODEL)
    names, stats = bundle.system.names, bundle.system.stats
    expected = store.layer(names[0], [str(k) for k in clip_keys(clips, store.cache)], stats=stats)
    together = bundle.extractor.files(clips)
    waves = [soundfile.read(clip.path, dtype="float32")[0] for clip in clips]
    alone = [bundle.extractor.arrays([wave], rates=[16_000])[0] for wave in waves]
    for computed in (together, alone):
        rows = np.stack([states[names[0]] for states in computed if not isinstance(states, ClipError)])
        # The stored type is float16: a difference of 1e-6 can move a value to its neighbour.
        np.testing.assert_allclose(rows, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
        assert (rows == expected).mean() > 0.99


def test_exact_states_agree_to_five_digits(run: Path) -> None:
    config = EmbedConfig(model=MODEL, layers="2", dtype="float32")
    extractor = StateExtractor(config)
    clips = clips_of(run)[:9]
    waves = [soundfile.read(clip.path, dtype="float32")[0] for clip in clips]
    together, arrays = extractor.files(clips), extractor.arrays(waves, rates=[16_000] * 9)
    alone = [extractor.files([clip])[0] for clip in clips]
    for first, second, third in zip(together, arrays, alone, strict=True):
        assert not isinstance(first, ClipError)
        largest = np.abs(first["2"]).max()
        for other in (second, third):
            assert not isinstance(other, ClipError)
            np.testing.assert_allclose(other["2"], first["2"], atol=1e-5 * largest)


def test_long_recordings_are_cut_into_windows_as_in_training(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(5.3, seed=1, rate=22_050), 22_050, subtype="FLOAT")
    (tmp_path / "a.csv").write_text("path\na.wav\n")
    config = EmbedConfig(model=MODEL, layers="2", dtype="float32", window=2.0, cache=tmp_path / "f")
    clips = read_manifest(tmp_path / "a.csv")
    embed(clips, config)
    store = find_model_store(tmp_path / "f", MODEL)
    (expected,) = store.layer("2", store.keys())
    wave, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    extractor = StateExtractor(config)
    for states in (*extractor.files(clips), *extractor.arrays([wave], rates=[rate])):
        assert not isinstance(states, ClipError)
        np.testing.assert_allclose(states["2"], expected, atol=1e-5 * np.abs(expected).max())


def test_the_cache_serves_clips_that_it_has(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(run / "bundle")
    clips = clips_of(run)
    computed = bundle.predict_clips(clips)
    other = load_bundle(run / "bundle")
    monkeypatch.setattr(FrozenBundle, "load_backbone", lambda _: pytest.fail("the model was loaded"))
    cached = other.predict_clips(clips, cache=run.parent / "features")
    assert [one.label for one in cached] == [one.label for one in computed]
    for one, two in zip(cached, computed, strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-3)


def test_one_recording_and_several(run: Path) -> None:
    bundle = load_bundle(run / "bundle")
    wave = tone(1.0, seed=3)
    label = bundle.predict(wave, sampling_rate=16_000)
    assert label in bundle.labels
    (also,) = bundle.predict([wave], sampling_rate=16_000)
    assert also == label
    mixed = [(wave, 16_000), {"array": wave, "sampling_rate": 16_000}, str(clips_of(run)[0].path)]
    probability = bundle.predict_proba(mixed)
    assert probability.shape == (3, 3)
    np.testing.assert_allclose(probability.sum(1), 1)
    np.testing.assert_array_equal(probability[0], probability[1])
    integers = (wave * 32768).round().astype(np.int16)
    assert bundle.predict(integers, sampling_rate=16_000) == label
    with pytest.raises(InputError, match="sampling_rate"):
        bundle.predict(wave)
    for bad, why in ((np.zeros(16_000), "silent"), (np.full(16_000, np.nan), "NaN"), (wave[:100], "short")):
        with pytest.raises(ClipError, match=why):
            bundle.predict(bad, sampling_rate=16_000)
    with pytest.raises(ClipError, match="shape"):
        bundle.predict([np.zeros((2, 100))], sampling_rate=16_000)
    assert bundle.predict([]).shape == (0,)
    assert bundle.predict_proba(iter([])).shape == (0, 3)
    with pytest.raises(InputError, match="a NoneType is no recording"):
        bundle.predict(None)


def test_threads_get_the_predictions_of_a_single_one(run: Path) -> None:
    bundle = load_bundle(run / "bundle")
    waves = [tone(0.4 + 0.2 * number, seed=number) for number in range(8)]
    expected = [bundle.predict_proba(wave, sampling_rate=16_000) for wave in waves]
    bundle = load_bundle(run / "bundle")
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        found[number] = bundle.predict_proba(waves[number], sampling_rate=16_000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, probability in enumerate(expected):
        np.testing.assert_allclose(found[number], probability, atol=1e-6)


def test_a_bundle_goes_to_another_process(run: Path) -> None:
    """As joblib and Dask send it: without its backbone, which is loaded there on first use."""
    bundle, waves = load_bundle(run / "bundle"), [tone(0.7, seed=seed) for seed in range(3)]
    fresh = pickle.loads(pickle.dumps(bundle))
    expected = bundle.predict_proba(waves, sampling_rate=16_000)
    used = pickle.dumps(bundle)
    assert len(used) < 10 * sum(file.stat().st_size for file in (run / "bundle").iterdir())
    for received in (fresh, pickle.loads(used)):
        assert repr(received) == repr(bundle)
        np.testing.assert_array_equal(received.predict_proba(waves, sampling_rate=16_000), expected)


def test_bad_files_have_errors_and_the_others_labels(run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    good = clips_of(run)[0]
    clips = [good, *find_recordings([tmp_path / "text.wav", tmp_path / "missing.wav"]), good]
    predictions = load_bundle(run / "bundle").predict_clips(clips)
    assert [one.error is None for one in predictions] == [True, False, False, True]
    assert predictions[0].label == predictions[3].label


def test_an_unsure_prediction_has_no_label(run: Path) -> None:
    bundle = load_bundle(run / "bundle")
    clips = clips_of(run)
    sure = bundle.predict_clips(clips)
    middle = float(np.median([one.confidence for one in sure]))
    for one, again in zip(sure, bundle.predict_clips(clips, min_confidence=middle), strict=True):
        assert again.label == (one.label if one.confidence >= middle else None)


def test_a_backbone_with_other_weights_is_refused(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "tiny", "hubert-group")
    run = make_run(tmp_path, model=str(model), heads=("logreg",), layers=("1",))
    wave = tone(1.0, seed=5)
    expected = load_bundle(run / "bundle").predict_proba(wave, sampling_rate=16_000)
    moved = shutil.move(model, tmp_path / "moved")
    again = load_bundle(run / "bundle", model=str(moved)).predict_proba(wave, sampling_rate=16_000)
    np.testing.assert_array_equal(again, expected)
    save_tiny(tmp_path / "other", "hubert-group", seed=1)
    with pytest.raises(InputError, match="has other weights"):
        load_bundle(run / "bundle", model=str(tmp_path / "other")).predict(wave, sampling_rate=16_000)
    with pytest.raises(InputError):  # where the study found it, there is nothing any more
        load_bundle(run / "bundle").predict(wave, sampling_rate=16_000)


def edit(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize("name", [MANIFEST, "preprocessing.safetensors", "head.skops"])
@pytest.mark.parametrize(
    "change",
    [lambda b: b[: len(b) // 2], lambda b: b.replace(b"1", b"2"), lambda b: b""],
    ids=["cut", "edited", "empty"],
)
def test_a_changed_file_is_refused(
    run: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    bundle = Path(shutil.copytree(run / "bundle", tmp_path / "b"))
    edit(bundle, name, change)
    with pytest.raises(InputError) as error:
        load_bundle(bundle)
    assert len(str(error.value).splitlines()) == 1
    (bundle / name).unlink()
    with pytest.raises(InputError):
        load_bundle(bundle)


def test_recordings_are_read_as_the_system_was_trained(run: Path, tmp_path: Path) -> None:
    clips = clips_of(run)[:1]
    assert load_bundle(run / "bundle").select_sound(clips) is clips
    extraction = Extraction.from_json(
        json.dumps(json.loads((run / "bundle" / MANIFEST).read_text())["extraction"]), where=""
    )
    other = json.loads(replace(extraction, channels="1", track=2).to_json())
    changed = rewritten(run, tmp_path / "b", extraction=other)
    (clip,) = load_bundle(changed).select_sound(clips)
    assert (clip.channel, clip.track) == (1, 2)


def test_the_card_may_be_edited(run: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(run / "bundle", tmp_path / "b"))
    edit(bundle, "README.md", lambda text: text + b"\nFor cheerful recordings only.\n")
    load_bundle(bundle)


def rewritten(run: Path, out: Path, **changes: Any) -> Path:
    """A copy of a bundle with another content but valid checksums, as an attacker would make it."""
    content = {**json.loads((run / "bundle" / MANIFEST).read_text()), **changes}
    for name in ("format", "files", "sha256"):
        content.pop(name)

    def write(folder: Path) -> dict[str, Any]:
        for path in (run / "bundle").iterdir():
            if path.name != MANIFEST:
                shutil.copy(path, folder)
        return content

    return write_bundle(out, write)


def test_a_bundle_of_another_version_is_refused(run: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(run / "bundle", tmp_path / "b"))
    edit(bundle, MANIFEST, lambda text: text.replace(b'"format": 1', b'"format": 99'))
    with pytest.raises(InputError, match="another version"):
        load_bundle(bundle)


def test_labels_with_control_characters_are_refused(run: Path, tmp_path: Path) -> None:
    bundle = rewritten(run, tmp_path / "b", labels=["a", "b\x1b]0;owned\x07", "c"])
    with pytest.raises(InputError) as error:
        load_bundle(bundle)
    assert "control characters" in str(error.value)
    assert "\x1b" not in str(error.value)


def test_labels_with_joiners_are_words(run: Path, tmp_path: Path) -> None:
    """Persian and Urdu write zero-width non-joiners within words."""
    labels = ("می\u200cخندد", "غمگین", "ශ්\u200dරී")
    assert load_bundle(rewritten(run, tmp_path / "b", labels=list(labels))).labels == labels


def test_a_backbone_that_is_gone_is_reported_with_the_option_that_names_it(run: Path, tmp_path: Path) -> None:
    bundle = load_bundle(run / "bundle", model=str(tmp_path / "moved"))
    with pytest.raises(InputError, match=r"run/bundle: cannot load the backbone .*moved.*; .* with --model"):
        bundle.predict(tone(1.0, seed=0), sampling_rate=16_000)
    bundle = load_bundle(run / "bundle", model="fbank")
    with pytest.raises(InputError, match=r"fbank: is not the backbone .* \(random:hubert-tiny\)"):
        bundle.predict(tone(1.0, seed=0), sampling_rate=16_000)


def test_a_bundle_whose_files_do_not_fit_is_refused(run: Path, tmp_path: Path) -> None:
    system = json.loads((run / "bundle" / MANIFEST).read_text())["system"]
    damaged: list[dict[str, Any]] = [
        {"system": {}},
        {"system": {**system, "head": {"kind": "pickle", "settings": {}}}},
        {"system": {**system, "inputs": [{**system["inputs"][0], "colour": 1}]}},
        {"extraction": {}},
        {"labels": None},
        {"labels": ["a", "b"]},
    ]
    for number, changes in enumerate(damaged):
        with pytest.raises(InputError) as error:
            load_bundle(rewritten(run, tmp_path / f"b{number}", **changes))
        assert len(str(error.value).splitlines()) == 1


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no bundle \(no bundle.json\); name the folder bundle"):
        load_bundle(tmp_path)
    with pytest.raises(InputError, match="missing: no such folder; name the folder bundle/ of a run"):
        load_bundle(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file, no bundle"):
        load_bundle(tmp_path / "file")
    (tmp_path / "file").unlink()
    (tmp_path / "precious").write_text("data")
    with pytest.raises(InputError, match="no bundle"):
        write_bundle(tmp_path, lambda folder: {})
    assert (tmp_path / "precious").read_text() == "data"


def test_for_a_run_folder_its_bundle_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_bundle(run)
    assert str(error.value) == f"{run}: is a run folder, no bundle; name {run / 'bundle'}"
    (tmp_path / "run.json").write_text('{"kind": "classify"}')
    with pytest.raises(InputError, match=f"without a bundle; run: .* bundle make {tmp_path}"):
        load_bundle(tmp_path)
    with pytest.raises(InputError, match=f"bundle: the run has no bundle; run: .* bundle make {tmp_path}"):
        load_bundle(tmp_path / "bundle")
    (tmp_path / "run.json").write_text('{"kind": "finetune"}')
    with pytest.raises(InputError, match="without a bundle; run finetune with --keep-models"):
        load_bundle(tmp_path)
    model = tmp_path / "models" / "fold-0"
    model.mkdir(parents=True)
    (model / MANIFEST).write_text("{}")
    with pytest.raises(InputError, match=f"is a run folder, no bundle; name {model}"):
        load_bundle(tmp_path)
