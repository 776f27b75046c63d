"""EmoBox's folds, from small checkouts in its layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.data.emobox import find_corpus, read_folds
from layerprobe.embed.manifest.clips import Clip

Fold = dict[str, list[tuple[str, str]]]  # train, test or valid → (wav, emo)


def checkout(root: Path, **corpora: list[Fold]) -> Path:
    """A checkout whose corpora have these folds; a key of the benchmark is not what clips are matched by."""
    for name, folds in corpora.items():
        for number, fold in enumerate(folds, start=1):
            folder = root / "data" / name / f"fold_{number}"
            folder.mkdir(parents=True)
            for part, entries in fold.items():
                lines = [
                    json.dumps(
                        {"key": f"{name}-{i}", "dataset": name, "wav": f"downloads/{name}/{wav}", "emo": emo}
                    )
                    for i, (wav, emo) in enumerate(entries)
                ]
                (folder / f"{name}_{part}_fold_{number}.jsonl").write_text("\n".join(lines) + "\n")
    return root


def clips_of(*files: str, **labels: str) -> list[Clip]:
    return [
        Clip(id=file, file=f"/corpora/{file}", labels={"emotion": labels.get("emotion", "")})
        for file in files
    ]


EMODB: list[Fold] = [
    {
        "train": [("wav/03a01Fa.wav", "happy"), ("wav/08a01Na.wav", "neutral")],
        "test": [("wav/09a01Wa.wav", "anger")],
    },
    {
        "train": [("wav/09a01Wa.wav", "anger"), ("wav/08a01Na.wav", "neutral")],
        "test": [("wav/03a01Fa.wav", "happy")],
    },
]


def test_folds_by_file_names_whatever_the_folder_and_format(tmp_path):
    folder = checkout(tmp_path, emodb=EMODB) / "data" / "emodb"
    clips = clips_of("berlin/03a01Fa.flac", "berlin/08a01Na.flac", "berlin/x/09a01Wa.WAV")
    folds = read_folds(folder, clips)
    assert folds.train == [
        ["berlin/03a01Fa.flac", "berlin/08a01Na.flac"],
        ["berlin/x/09a01Wa.WAV", "berlin/08a01Na.flac"],
    ]
    assert folds.test == [["berlin/x/09a01Wa.WAV"], ["berlin/03a01Fa.flac"]]
    assert folds.validation == [[], []]
    assert folds.deviations == ()


def test_speakers_in_names_or_in_folders(tmp_path):
    fold: Fold = {"train": [("JE_a01.wav", "a"), ("KL_a01.wav", "a")], "test": [("DC_a01.wav", "a")]}
    folder = checkout(tmp_path, savee=[fold]) / "data" / "savee"
    folds = read_folds(folder, clips_of("DC/a01.wav", "JE/a01.wav", "KL/a01.wav"))
    assert (folds.train, folds.test) == ([["JE/a01.wav", "KL/a01.wav"]], [["DC/a01.wav"]])
    # A file that merely ends like another is not that one.
    assert (
        "2 of its 3 recordings are not in the table"
        in read_folds(folder, clips_of("DC/a01.wav")).deviations[0]
    )


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    fold: Fold = {
        "train": [("train/train_splits/dia0_utt0.mp4", "joy")],
        "valid": [("dev_splits_complete/dia0_utt0.mp4", "joy")],
        "test": [("output_repeated_splits_test/dia0_utt0.mp4", "anger")],
    }
    folder = checkout(tmp_path, meld=[fold]) / "data" / "meld"
    names = ("train_splits", "dev_splits_complete", "output_repeated_splits_test")
    clips = clips_of(*(f"{name}/dia0_utt0.mp4" for name in names))
    folds = read_folds(folder, clips)
    assert folds.train == [["train_splits/dia0_utt0.mp4", "dev_splits_complete/dia0_utt0.mp4"]]
    assert folds.validation == [["dev_splits_complete/dia0_utt0.mp4"]]
    assert folds.test == [["output_repeated_splits_test/dia0_utt0.mp4"]]
    with pytest.raises(InputError, match=r"3 names could each mean several clips, such as dia0_utt0\.mp4"):
        read_folds(folder, clips_of("a/dia0_utt0.mp4", "b/dia0_utt0.mp4"))


def test_segments_are_matched_by_their_names(tmp_path):
    wav = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F00{}.wav"
    fold: Fold = {"train": [(wav.format(0), "neu")], "test": [(wav.format(1), "ang")]}
    folder = checkout(tmp_path, iemocap=[fold]) / "data" / "iemocap"
    clips = [
        Clip(id=f"Ses01F_impro01_F00{n}", file="/x/Ses01F_impro01.wav", start=n, end=n + 1.0)
        for n in range(3)
    ]
    folds = read_folds(folder, clips)
    assert (folds.train, folds.test) == ([["Ses01F_impro01_F000"]], [["Ses01F_impro01_F001"]])
    assert folds.deviations == (
        "1 of 3 clips of the table are in none of its folds, and are left out (Ses01F_impro01_F002)",
    )


def test_classes_that_differ_are_named(tmp_path):
    folder = checkout(tmp_path, emodb=EMODB) / "data" / "emodb"
    (folder / "label_map.json").write_text('{"happy": "hap", "neutral": "hap", "anger": "ang"}')
    clips = [
        Clip(id=name, file=f"/{name}.wav", labels={"emotion": label})
        for name, label in {"03a01Fa": "happiness", "08a01Na": "neutral", "09a01Wa": "neutral"}.items()
    ]
    assert read_folds(folder, clips, target="emotion").deviations == (
        "its class 'hap' is happiness, neutral in the table",
        "'neutral' of the table is ang, hap there",
    )


def test_the_corpus_of_a_table_is_found(tmp_path):
    other: list[Fold] = [{"train": [("a.wav", "x")], "test": [("1001_DFA_ANG_XX.wav", "x")]}]
    root = checkout(tmp_path, emodb=EMODB, cremad=other)
    assert find_corpus(root, clips_of("e/09a01Wa.wav")) == root / "data" / "emodb"
    assert find_corpus(root / "data", clips_of("e/1001_DFA_ANG_XX.wav")) == root / "data" / "cremad"
    assert find_corpus(root / "data" / "cremad", []) == root / "data" / "cremad"
    with pytest.raises(
        InputError, match=r"none of its corpora \(cremad, emodb\) has files named like /corpora/x"
    ):
        find_corpus(root, clips_of("x.wav"))
    with pytest.raises(InputError, match=r"several of its corpora .*cremad \(100%\), emodb \(100%\)"):
        find_corpus(root, clips_of("e/09a01Wa.wav", "c/1001_DFA_ANG_XX.wav"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1]", "line 1 is not an entry with 'wav' and 'emo'"),
        ('{"wav": "a.wav"}', "line 1 is not an entry"),
        ('{"wav": 1, "emo": "x"}', "line 1 is not an entry"),
        ("version https://git-lfs.github.com/spec/v1", "line 1 is not an entry"),
        (None, r"cannot be read \(no such file or directory\)"),
        (b"\xff\xfe", r"cannot be read \(it is not utf-8\)"),
    ],
)
def test_damaged_files_are_one_line_that_names_them(tmp_path, text, what):
    folder = checkout(tmp_path, emodb=EMODB) / "data" / "emodb"
    file = folder / "fold_2" / "emodb_train_fold_2.jsonl"
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=what) as caught:
        read_folds(folder, clips_of("03a01Fa.wav"))
    assert str(file) in caught.value.line()
    assert "\n" not in caught.value.line()


def test_a_folder_that_is_no_checkout(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        InputError, match=r"looked for data/NAME/fold_1/NAME_test_fold_1\.jsonl, found notes\.txt"
    ):
        find_corpus(tmp_path, [])
    with pytest.raises(InputError, match="no such folder"):
        find_corpus(tmp_path / "gone", [])
