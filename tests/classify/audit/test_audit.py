"""Every defect of a corpus, planted alone, is finding; without it the audit reports fine."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.audit.audit import Audit, audit
from layerprobe.embed.manifest.clips import Clip

pytestmark = pytest.mark.slow

RATE = 16_000
EMOTIONS, SPEAKERS, WORDS = ("angry", "calm", "sad"), 8, 3
ITEMS = [
    "test speakers in training",
    "speaker, text and label twins",
    "source recordings",
    "identical audio",
    "near-identical audio",
    "copies that disagree",
    "spellings",
    "speakers by class",
    "clips by speaker",
    "class sizes",
    "text by class",
    "folders",
    "duration by class",
    "level by class",
    "silence by class",
    "clipping by class",
    "sample rate by class",
    "channels by class",
    "encoding by class",
    "broken files",
]


def voice(seed: int, *, seconds: float | None = None) -> np.ndarray:
    """Syllabic noise, different for each seed, always at the same level."""
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(0.5, 0.9) if seconds is None else seconds
    time = np.arange(round(seconds * RATE)) / RATE
    swell = sum(np.exp(-(((time - at) / 0.06) ** 2)) for at in rng.uniform(0.1, seconds - 0.1, 3))
    wave = np.convolve(rng.standard_normal(len(time)), rng.standard_normal(9), "same") * (0.02 + swell)
    return (0.05 * wave / np.sqrt(np.mean(wave**2))).astype(np.float32)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, Path]:
    """Clip id → file; one folder for each word."""
    root = tmp_path_factory.mktemp("corpus")
    files = {}
    for number, (speaker, word, emotion) in enumerate(np.ndindex(SPEAKERS, WORDS, len(EMOTIONS))):
        path = root / f"w{word}" / f"s{speaker}-{EMOTIONS[emotion]}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, voice(number), RATE, subtype="PCM_16")
        files[f"w{word}/{path.name}"] = path
    return files


@pytest.fixture
def clips(sound) -> list[Clip]:
    """Balanced: speakers, words and emotions are crossed; the last two speakers are tested."""
    changed = []
    for id, path in sound.items():
        speaker, emotion = path.stem.split("-")
        labels = {"emotion": emotion, "word": path.parent.name, "session": f"of {speaker}"}
        split = "test" if speaker in ("s6", "s7") else "train"
        changed.append(Clip(id=id, file=str(path), labels=labels, speaker=speaker, split=split))
    return changed


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def change(clip: Clip, **what) -> Clip:
    labels = what.pop("labels", {})
    return dataclasses.replace(clip, labels=clip.labels | labels, **what)


def find(clips: list[Clip], *, speaker: str, word: str, emotion: str) -> Clip:
    wanted = (speaker, word, emotion)
    return next(c for c in clips if (c.speaker, c.labels["word"], c.labels["emotion"]) == wanted)


def rewritten(clips: list[Clip], folder: Path, write, *, when) -> list[Clip]:
    """The clips, with the audio of those that satisfy `when` rewritten by `write(path, wave)`."""
    changed = []
    for number, clip in enumerate(clips):
        if when(clip):
            path = folder / clip.labels["word"] / f"{number}.wav"
            path.parent.mkdir(exist_ok=True)
            write(path, soundfile.read(clip.path, dtype="float32")[0])
            clip = change(clip, file=str(path))
        changed.append(clip)
    return changed


def others(report: Audit, *items: str) -> set[str]:
    """Items that are not fine, except for those named."""
    return {finding.item for finding in report.findings if finding.verdict != "fine"} - set(items)


def test_a_balanced_corpus_is_fine_in_every_item(clips, cache):
    report = audit(clips, target="emotion", cache=cache)
    assert [finding.item for finding in report.findings] == ITEMS
    assert others(report) == set()
    assert report.verdict == "fine"
    assert report.unchecked == ()
    assert (report.clips, report.speakers) == (72, 8)
    assert [(row.label, row.clips, row.speakers) for row in report.classes] == [(e, 24, 8) for e in EMOTIONS]
    (fold,) = report.folds
    assert (fold.train_clips, fold.test_clips) == (54, 18)
    assert (fold.train_speakers, fold.test_speakers, fold.shared_speakers) == (6, 2, 0)
    assert fold.test_classes == {"angry": 6, "calm": 6, "sad": 6}


def test_an_assignment_takes_precedence_over_the_split_column(clips, cache):
    ids = [clip.id for clip in clips]
    halves = [(ids[::2], ids[1::2]), (ids[1::2], ids[::2])]
    report = audit(clips, target="emotion", cache=cache, assignment=halves)
    speakers = report.finding("test speakers in training")
    assert speakers.verdict == report.verdict == "leak"
    assert speakers.numbers == {"share": 1.0, "clips": 72.0, "tested": 72.0}
    assert "72 of 72 test clips (100.0 %)" in speakers.message
    assert set(speakers.evidence) == set(ids)
    assert [fold.shared_speakers for fold in report.folds] == [8, 8]
    # There is one clip per speaker, word and emotion, so there are no twins.
    assert report.finding("speaker, text and label twins").verdict == "fine"


def test_one_test_speaker_in_training(clips, cache):
    moved = [change(c, split="test") if c.id == "w1/s0-calm.wav" else c for c in clips]
    report = audit(moved, target="emotion", cache=cache)
    assert report.finding("test speakers in training").evidence == ("w1/s0-calm.wav",)
    assert others(report) == {"test speakers in training", "source recordings"}


@pytest.mark.parametrize(
    ("pair", "unknown"),
    [
        ((("s0", "w1", "calm"), ("s6", "w1", "calm")), {"speaker": None}),
        ((("s6", "w0", "calm"), ("s6", "w1", "calm")), {"labels": {"word": ""}}),
        ((("s6", "w1", "sad"), ("s6", "w1", "calm")), {"labels": {"emotion": ""}}),
    ],
    ids=["speaker", "text", "label"],
)
def test_what_is_unknown_makes_no_twins(clips, cache, pair, unknown):
    """A clip in training and one in test agree in two of speaker, text and label; the third is unknown."""
    first, second = (find(clips, speaker=s, word=w, emotion=e) for s, w, e in pair)
    partition = {first.id: "train", second.id: "test"}
    changed = [change(c, split=partition[c.id], **unknown) if c.id in partition else c for c in clips]
    assert audit(changed, target="emotion", cache=cache).finding(ITEMS[1]).verdict == "fine"


def test_a_group_of_two_is_a_group(clips, cache):
    """Without a split, two clips of one speaker, text and label are twins that any split may part."""
    pair = find(clips, speaker="s6", word="w1", emotion="calm")
    twin = find(clips, speaker="s6", word="w1", emotion="sad")
    unsplit = [change(clip, split=None, labels={"emotion": "calm"} if clip is twin else {}) for clip in clips]
    assert pair is not twin
    finding = audit(unsplit, target="emotion", cache=cache).finding("speaker, text and label twins")
    assert finding.verdict == "look"
    assert finding.numbers["expected_share_at_random"] > 0


def test_speakers_of_one_clip_each_leak_nothing(clips, cache):
    chosen = [find(clips, speaker=f"s{number}", word="w1", emotion="calm") for number in range(4)]
    chosen += [find(clips, speaker=f"s{number}", word="w1", emotion="sad") for number in range(4, 7)]
    unsplit = [change(clip, split=None, labels={}) for clip in chosen]
    report = audit(unsplit, target="emotion", cache=cache)
    for item in ("test speakers in training", "speaker, text and label twins"):
        assert report.finding(item).verdict == "fine"
        assert report.finding(item).numbers["expected_share_at_random"] == 0


def test_a_twin_in_training(clips, cache, tmp_path):
    model = find(clips, speaker="s0", word="w1", emotion="calm")
    path = tmp_path / "w1" / "again.wav"
    path.parent.mkdir()
    soundfile.write(path, voice(999), RATE)
    report = audit(
        [*clips, change(model, id="again", file=str(path), split="test")], target="emotion", cache=cache
    )
    finding = report.finding("speaker, text and label twins")
    assert (finding.verdict, finding.evidence) == ("leak", ("again",))
    assert "same word, same emotion" in finding.message


def test_segments_of_one_recording_in_both_partitions(clips, cache):
    mixed = [change(c, labels={"session": f"of {c.labels['word']}"}) for c in clips]
    report = audit(mixed, target="emotion", cache=cache)
    assert report.finding("source recordings").verdict == "leak"
    assert others(report) == {"source recordings"}


def test_segments_of_one_file_count_as_one_recording(clips, cache, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([voice(1000 + i, seconds=1.0) for i in range(4)]), RATE)
    cut = [
        change(clip, id=f"{path}#{i}", file=str(path), start=float(i), end=i + 1.0, labels={"session": "nan"})
        for i, clip in enumerate([clips[0], clips[1], clips[-1], clips[-2]])
    ]
    bare = [Clip(id=c.id, file=c.file, start=c.start, end=c.end, labels={"emotion": c.labels["emotion"]},
                 speaker=c.speaker, split=c.split) for c in [*clips, *cut]]  # fmt: skip
    report = audit(bare, target="emotion", cache=cache)
    assert set(report.finding("source recordings").evidence) == {cut[2].id, cut[3].id}
    assert others(report, "source recordings") == set()


def test_identical_files_in_both_partitions(clips, cache, tmp_path):
    model = find(clips, speaker="s0", word="w1", emotion="calm")
    twin = find(clips, speaker="s6", word="w1", emotion="calm")
    path = tmp_path / "w1" / "copy.wav"
    path.parent.mkdir()
    shutil.copy(model.path, path)
    copied = [change(c, file=str(path)) if c is twin else c for c in clips]
    report = audit(copied, target="emotion", cache=cache)
    finding = report.finding("identical audio")
    assert finding.verdict == "leak"
    assert finding.numbers == {"copies": 1.0, "share": 1 / 18, "clips": 1.0, "tested": 18.0}
    assert finding.evidence == ("w1/s0-calm.wav = w1/s6-calm.wav",)
    disagree = report.finding("copies that disagree")
    assert disagree.verdict == "look"
    assert "s0 and s6 (1 recording)" in disagree.message
    assert others(report) == {"identical audio", "copies that disagree"}


def test_identical_files_in_one_partition_with_different_labels(clips, cache, tmp_path):
    model = find(clips, speaker="s0", word="w1", emotion="calm")
    path = tmp_path / "w1" / "copy.wav"
    path.parent.mkdir()
    shutil.copy(model.path, path)
    report = audit([*clips, change(model, id="copy", file=str(path), labels={"emotion": "sad"})],
                   target="emotion", cache=cache)  # fmt: skip
    assert report.finding("identical audio").verdict == "look"
    finding = report.finding("copies that disagree")
    assert finding.numbers == {"sets": 1.0, "differing_emotion": 1.0}
    assert finding.evidence == ("w1/s0-calm.wav = copy: emotion calm or sad",)
    assert others(report) == {"identical audio", "copies that disagree"}


def test_an_empty_cell_does_not_contradict_a_copy(clips, cache):
    model = find(clips, speaker="s0", word="w1", emotion="calm")
    silent = dataclasses.replace(model, id="copy", speaker=None, labels={"emotion": "calm"})
    report = audit([*clips, silent], target="emotion", cache=cache)
    assert report.finding("identical audio").verdict == "look"
    assert report.finding("copies that disagree").verdict == "fine"


def louder_and_later(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path, np.concatenate([np.zeros(1234, np.float32), 0.3 * wave[800:]]), RATE)


def as_ogg(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path.with_suffix(".ogg"), wave, RATE)
    path.with_suffix(".ogg").rename(path)  # the format is detected from the content


def noisy(path: Path, wave: np.ndarray) -> None:
    noise = np.random.default_rng(5).standard_normal(len(wave)) * np.sqrt(np.mean(wave**2)) * 0.03
    soundfile.write(path, wave + noise, RATE)


def at_8_khz(path: Path, wave: np.ndarray) -> None:
    from scipy.signal import resample_poly

    soundfile.write(path, resample_poly(wave, 1, 2), RATE // 2)


@pytest.mark.parametrize(
    ("write", "shift"),
    [(louder_and_later, "-0.027 s"), (as_ogg, "+0.000 s"), (noisy, "+0.000 s"), (at_8_khz, "+0.000 s")],
)
def test_near_identical_recordings_in_both_partitions(clips, cache, tmp_path, write, shift):
    model = find(clips, speaker="s0", word="w1", emotion="calm")
    twin = find(clips, speaker="s6", word="w1", emotion="calm")
    path = tmp_path / "w1" / "copy.wav"
    path.parent.mkdir()
    write(path, soundfile.read(model.path, dtype="float32")[0])
    report = audit(
        [change(c, file=str(path)) if c is twin else c for c in clips], target="emotion", cache=cache
    )
    assert report.finding("identical audio").verdict == "fine"
    finding = report.finding("near-identical audio")
    assert (finding.verdict, finding.numbers["copies"], finding.numbers["clips"]) == ("leak", 1.0, 1.0)
    assert finding.evidence[0].startswith("w1/s0-calm.wav ~ w1/s6-calm.wav (correlation ")
    assert shift in finding.evidence[0]
    assert others(report) == {"near-identical audio", "copies that disagree"}


def test_speakers_with_one_class_each(clips, cache):
    bound = [c for c in clips if EMOTIONS.index(c.labels["emotion"]) == int(c.speaker[1:]) % 3]
    report = audit(bound, target="emotion", cache=cache)
    finding = report.finding("speakers by class")
    assert finding.verdict == "look"
    assert finding.numbers == {"fewest": 2.0, "clips_of_one_class_speakers": 1.0}


def test_a_class_with_few_speakers(clips, cache):
    report = audit([c for c in clips if c.labels["emotion"] != "sad" or c.speaker < "s4"], target="emotion",
                   cache=cache)  # fmt: skip
    assert report.finding("speakers by class").verdict == "look"
    assert "sad 4" in report.finding("speakers by class").message


def test_clips_without_a_speaker_among_others(clips, cache):
    some = [change(c, speaker=None) if c.id == "w1/s0-calm.wav" else c for c in clips]
    finding = audit(some, target="emotion", cache=cache).finding("speakers by class")
    assert finding.verdict == "look"
    assert finding.message == (
        "Speakers per class: angry 8, calm 8, sad 8. 1 clip without a speaker, who may be in training and "
        "test: name every speaker."
    )


def test_few_speakers_with_most_clips(clips, cache):
    uneven = [c for c in clips if c.speaker < "s2" or c.labels["word"] == "w0"]
    finding = audit(uneven, target="emotion", cache=cache).finding("clips by speaker")
    assert finding.verdict == "look"
    assert finding.numbers["top_share"] == pytest.approx((9 + 9 + 3) / 36)
    assert finding.numbers["effective_speakers"] == pytest.approx(36**2 / (2 * 81 + 6 * 9))


def test_uneven_classes(clips, cache):
    sad = [c for c in clips if c.labels["emotion"] == "sad"][:7]
    uneven = [c for c in clips if c.labels["emotion"] != "sad" or c in sad]
    finding = audit(uneven, target="emotion", cache=cache).finding("class sizes")
    assert finding.verdict == "look"
    assert finding.numbers["largest_to_smallest"] == pytest.approx(24 / 7)
    assert "read UAR" in finding.message
    assert "7 clips of a class are too few" in finding.message


def test_clips_without_a_label(clips, cache):
    report = audit([change(clips[0], labels={"emotion": ""}), *clips[1:]], target="emotion", cache=cache)
    assert report.finding("class sizes").message.endswith("1 clip without a label are left out.")
    assert others(report) == {"class sizes"}


def test_words_that_predict_the_class(clips, cache):
    predictive = [change(c, labels={"word": f"of {c.labels['emotion']}"}) for c in clips]
    report = audit(predictive, target="emotion", cache=cache)
    assert report.finding("text by class").numbers["cramers_v"] == pytest.approx(1.0)
    assert others(report) == {"text by class"}


def test_a_clip_in_the_wrong_folder(clips, cache):
    wrong = change(clips[5], labels={"word": "w2"})
    report = audit([*clips[:5], wrong, *clips[6:]], target="emotion", cache=cache)
    finding = report.finding("folders")
    assert finding.evidence == (f"{wrong.id} (word w2, folder w1)",)
    assert others(report) == {"folders"}


def quieter(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path, 0.4 * wave, RATE)


def slower(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path, np.repeat(wave, 2), RATE)


def padded(path: Path, wave: np.ndarray) -> None:
    speech = round(0.6 * len(wave))
    soundfile.write(path, np.concatenate([wave[:speech], np.zeros(len(wave) - speech, np.float32)]), RATE)


def clipped(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path, np.clip(10 * wave, -1, 1) / 10, RATE, subtype="FLOAT")


def in_stereo(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path, np.stack([wave, wave], axis=1), RATE, subtype="PCM_16")


def in_24_bit(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path, wave, RATE, subtype="PCM_24")


@pytest.mark.parametrize(
    ("item", "write", "side_effects"),
    [
        ("duration by class", slower, {"silence by class"}),
        ("level by class", quieter, set()),
        ("silence by class", padded, {"level by class"}),
        ("clipping by class", clipped, {"encoding by class", "level by class", "silence by class"}),
        ("sample rate by class", at_8_khz, {"level by class"}),
        ("channels by class", in_stereo, set()),
        ("encoding by class", in_24_bit, set()),
    ],
)
def test_sound_and_format_that_predict_the_class(clips, cache, tmp_path, item, write, side_effects):
    changed = rewritten(clips, tmp_path, write, when=lambda clip: clip.labels["emotion"] == "sad")
    report = audit(changed, target="emotion", cache=cache)
    assert report.finding(item).verdict == "look"
    assert "sad" in report.finding(item).message
    assert others(report, *side_effects) == {item}


@pytest.mark.parametrize("write", [at_8_khz, in_stereo, in_24_bit])
def test_formats_spread_over_the_classes_are_fine(clips, cache, tmp_path, write):
    changed = rewritten(clips, tmp_path, write, when=lambda clip: clip.labels["word"] == "w1")
    assert others(audit(changed, target="emotion", cache=cache)) == set()


def test_clipping_that_is_equal_in_all_classes(clips, cache, tmp_path):
    changed = rewritten(clips, tmp_path, clipped, when=lambda clip: clip.labels["word"] == "w1")
    report = audit(changed, target="emotion", cache=cache)
    assert report.finding("clipping by class").verdict == "look"
    assert report.finding("clipping by class").numbers["clips"] >= 12


def test_broken_files_are_listed_with_their_reasons(clips, cache, tmp_path):
    folder = tmp_path / clips[0].labels["word"]
    folder.mkdir()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("no sound")
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    complete = clips[0].path.read_bytes()
    (folder / "short.wav").write_bytes(complete[: len(complete) // 2])
    soundfile.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    names = ["empty.wav", "text.wav", "silent.wav", "short.wav", "nan.wav", "missing.wav"]
    like = [clip for clip in clips if clip.labels["word"] == folder.name]
    bad = [change(clip, id=name, file=str(folder / name)) for clip, name in zip(like, names, strict=False)]
    report = audit([*clips, *bad], target="emotion", cache=cache)
    finding = report.finding("broken files")
    reasons = dict(line.split(": ", 1) for line in finding.evidence)
    assert list(reasons) == names
    assert "zero bytes" in reasons["empty.wav"]
    assert "not a sound file" in reasons["text.wav"]
    assert "silent" in reasons["silent.wav"]
    assert "truncated" in reasons["short.wav"]
    assert "NaN" in reasons["nan.wav"]
    assert "no such file" in reasons["missing.wav"]
    assert others(report) == {"broken files"}


def test_notes_of_the_corpus_reader_become_a_finding(clips, cache):
    report = audit(clips, target="emotion", cache=cache, notes=["there are 8 speakers, the README says 9"])
    assert report.finding("corpus notes").evidence == ("there are 8 speakers, the README says 9",)
    assert others(report) == {"corpus notes"}


def test_without_partitions_the_expected_leakage_of_a_random_split(clips, cache):
    report = audit([change(c, split=None) for c in clips], target="emotion", cache=cache)
    finding = report.finding("test speakers in training")
    assert finding.verdict == "look"
    assert finding.numbers["expected_share_at_random"] > 0.99
    assert report.verdict == "look"
    assert any(line.startswith("training and test partitions") for line in report.unchecked)


def test_without_speakers_texts_and_sources(clips, cache):
    bare = [Clip(id=c.id, file=c.file, labels={"emotion": c.labels["emotion"]}, split=c.split) for c in clips]
    report = audit(bare, target="emotion", cache=cache)
    assert others(report) == {"test speakers in training", "speakers by class"}
    assert report.speakers is None
    assert [line.partition(":")[0] for line in report.unchecked] == ["texts", "source recordings"]


def test_text_and_source_columns_by_name(clips, cache):
    renamed = [
        dataclasses.replace(c, labels={"emotion": c.labels["emotion"], "said": "a", "tape": "b"})
        for c in clips
    ]
    report = audit(renamed, target="emotion", cache=cache, text="said", source="tape")
    assert report.finding("source recordings").verdict == "leak"
    with pytest.raises(InputError, match=r"no column 'tapes'.*choose from emotion, said, tape"):
        audit(renamed, target="emotion", cache=cache, source="tapes")


def test_an_empty_table_is_an_error(cache):
    with pytest.raises(InputError, match="no clips"):
        audit([], target="emotion", cache=cache)


def test_cached_measurements_change_nothing(clips, tmp_path):
    fresh = audit(clips, target="emotion", cache=tmp_path / "cache")
    again = audit(clips, target="emotion", cache=tmp_path / "cache")
    assert again == fresh
    (cached,) = (tmp_path / "cache" / "audit").iterdir()
    cached.write_bytes(cached.read_bytes()[:5000])
    assert audit(clips, target="emotion", cache=tmp_path / "cache") == fresh
    (tmp_path / "file").write_bytes(b"")
    assert audit(clips, target="emotion", cache=tmp_path / "file") == fresh


def test_importing_the_audit_loads_no_torch():
    code = "import sys, layerprobe.classify.audit.audit; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.skipif("LAYERPROBE_BAVED" not in os.environ, reason="needs BAVED")
def test_baved(tmp_path):
    from layerprobe.embed.manifest.corpora import CORPORA

    corpus = CORPORA["baved"](Path(os.environ["LAYERPROBE_BAVED"]))
    report = audit(corpus.clips, target="emotion", cache=tmp_path, notes=corpus.notes)
    assert report.speakers == 60
    assert "the README says 61" in report.finding("corpus notes").message
    assert report.finding("folders").evidence == ("0/49-m-23-6-1-201.wav (word 6, folder 0)",)
    assert report.finding("identical audio").numbers["copies"] == 27
    assert report.finding("near-identical audio").verdict == "fine"
    assert "46 and 53 (21 recordings)" in report.finding("copies that disagree").message
    assert report.finding("copies that disagree").numbers == {"sets": 21.0, "differing_speaker": 21.0}
    assert report.finding("test speakers in training").numbers["expected_share_at_random"] > 0.995
    assert report.finding("clips by speaker").numbers["top_share"] == pytest.approx(0.514, abs=0.001)
    assert report.finding("broken files").verdict == "fine"
