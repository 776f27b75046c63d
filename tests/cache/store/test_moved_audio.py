"""Cache and table of another machine, without the audio: keys are known by the table's paths, or refused."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.digests import DATABASE
from layerprobe.cache.store.keys import clip_keys, known_keys
from layerprobe.embed.manifest.clips import Clip

NAMES = ("a/1.wav", "a/2.wav", "b/1.wav")


def table(folder: Path, names: Sequence[str] = NAMES, *, base: str = "") -> list[Clip]:
    """Clips of a table in FOLDER/BASE that writes its paths as `names`."""
    return [Clip(id=name, file=str(folder / base / name)) for name in names]


def write(folder: Path, content: str, names: Sequence[str] = NAMES) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{content} {name}")


def on_server(tmp_path: Path, clips: Sequence[Clip]) -> list[str | OSError]:
    """The keys of clips, which the cache then knows."""
    return clip_keys(clips, tmp_path / "cache")


@pytest.fixture
def keys(tmp_path: Path) -> list[str | OSError]:
    """The keys of the server's clips; their audio is deleted."""
    write(tmp_path / "server", "speech")
    keys = on_server(tmp_path, table(tmp_path / "server"))
    shutil.rmtree(tmp_path / "server")
    return keys


def test_keys_are_known_by_the_tables_paths(tmp_path: Path, keys: list[str | OSError]) -> None:
    clips = table(tmp_path / "laptop" / "study")
    known = known_keys(clips, tmp_path / "cache")
    assert known.keys == keys
    assert known.all_elsewhere
    assert known.elsewhere == {i: tmp_path / "server" / name for i, name in enumerate(NAMES)}
    assert "audio of 3 clips is not on this machine and was not read" in known.note
    assert str(tmp_path / "server") in known.note


def test_absolute_paths_of_the_server_are_the_same_files(tmp_path: Path, keys: list[str | OSError]) -> None:
    clips = [replace(clip, id=clip.file) for clip in table(tmp_path / "server")]
    known = known_keys(clips, tmp_path / "cache")
    assert (known.keys, known.all_elsewhere) == (keys, True)


def test_segments_have_their_own_keys(tmp_path: Path) -> None:
    write(tmp_path / "server", "speech")
    parts = [(0.0, 1.0), (1.0, 2.5), (None, None)]

    def segments(folder: Path) -> list[Clip]:
        return [
            replace(clip, id=clip.id if start is None else f"{clip.id}#{start}-{end}", start=start, end=end)
            for clip in table(folder)
            for start, end in parts
        ]

    keys = on_server(tmp_path, segments(tmp_path / "server"))
    shutil.rmtree(tmp_path / "server")
    assert known_keys(segments(tmp_path / "laptop"), tmp_path / "cache").keys == keys
    assert len(set(map(str, keys))) == 9


@pytest.mark.parametrize(("there", "here"), [("tables", "study"), ("", "x/y")])
def test_paths_above_the_table_are_followed(tmp_path: Path, there: str, here: str) -> None:
    write(tmp_path / "server", "speech")
    keys = on_server(tmp_path, table(tmp_path / "server"))
    shutil.rmtree(tmp_path / "server")
    clips = [Clip(id=f"../{name}", file=str(tmp_path / "laptop" / here / ".." / name)) for name in NAMES]
    assert known_keys(clips, tmp_path / "cache").keys == keys


def test_clips_with_names_of_their_own_are_known_below_their_common_folder(
    tmp_path: Path, keys: list[str | OSError]
) -> None:
    clips = [replace(clip, id=f"clip {i}") for i, clip in enumerate(table(tmp_path / "laptop"))]
    assert known_keys(clips, tmp_path / "cache").keys == keys


def test_another_folder_name_in_the_table_is_another_recording(
    tmp_path: Path, keys: list[str | OSError]
) -> None:
    clips = table(tmp_path / "laptop", ["c/1.wav", "c/2.wav"])
    known = known_keys(clips, tmp_path / "cache")
    assert all(isinstance(key, FileNotFoundError) for key in known.keys)
    assert (known.note, known.all_elsewhere) == ("", False)


def test_two_recordings_of_one_name_are_refused(tmp_path: Path, keys: list[str | OSError]) -> None:
    write(tmp_path / "denoised", "clean speech", NAMES[:1])
    on_server(tmp_path, table(tmp_path / "denoised", NAMES[:1]))
    clips = table(tmp_path / "laptop")
    with pytest.raises(
        StoreError, match=r"a/1\.wav: is not on this machine.*denoised.*server.*absolute paths"
    ):
        known_keys(clips, tmp_path / "cache")
    exact = [Clip(id=str(i), file=str(tmp_path / "server" / name)) for i, name in enumerate(NAMES)]
    shutil.rmtree(tmp_path / "denoised")
    assert known_keys(exact, tmp_path / "cache").keys == keys


def test_the_same_recordings_in_two_folders_are_no_doubt(tmp_path: Path) -> None:
    for folder in ("server", "backup"):
        write(tmp_path / folder, "speech")
        keys = on_server(tmp_path, table(tmp_path / folder))
        shutil.rmtree(tmp_path / folder)
    assert known_keys(table(tmp_path / "laptop"), tmp_path / "cache").keys == keys


def test_files_are_not_gathered_from_several_folders(tmp_path: Path) -> None:
    """Each of the table's files is in one folder, but no folder has all: these are other recordings."""
    for folder, names in (("one", NAMES[:2]), ("two", NAMES[2:])):
        write(tmp_path / folder, folder, names)
        on_server(tmp_path, table(tmp_path / folder, names))
    with pytest.raises(StoreError, match=r"several files that it could be \(in .*one, .*two\)"):
        known_keys(table(tmp_path / "laptop"), tmp_path / "cache")


def test_a_file_that_the_server_never_had_stays_unknown(tmp_path: Path, keys: list[str | OSError]) -> None:
    known = known_keys(table(tmp_path / "laptop", [*NAMES, "a/never.wav"]), tmp_path / "cache")
    assert known.keys[:3] == keys
    assert isinstance(known.keys[3], FileNotFoundError)
    assert known.elsewhere[3] == tmp_path / "server" / "a" / "never.wav"
    assert known.all_elsewhere


@pytest.mark.parametrize("same", [True, False])
def test_files_that_are_here_decide_which_folder_it_was(
    tmp_path: Path, keys: list[str | OSError], same: bool
) -> None:
    """A few files were copied too: only a folder that had exactly these is that of the table."""
    write(tmp_path / "laptop", "speech" if same else "other speech", NAMES[:1])
    known = known_keys(table(tmp_path / "laptop"), tmp_path / "cache")
    assert isinstance(known.keys[0], str)
    assert (known.keys == keys) == same
    assert all(isinstance(key, str) == same for key in known.keys[1:])
    assert not known.all_elsewhere


def test_the_last_content_counts(tmp_path: Path, keys: list[str | OSError]) -> None:
    write(tmp_path / "server", "speech, recorded again")
    again = on_server(tmp_path, table(tmp_path / "server"))
    shutil.rmtree(tmp_path / "server")
    assert known_keys(table(tmp_path / "laptop"), tmp_path / "cache").keys == again != keys


def test_without_the_database_nothing_is_known(tmp_path: Path, keys: list[str | OSError]) -> None:
    (tmp_path / "cache" / DATABASE).unlink()
    known = known_keys(table(tmp_path / "laptop"), tmp_path / "cache")
    assert not any(isinstance(key, str) for key in known.keys)
