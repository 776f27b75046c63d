"""Tables whose audio is at URLs: the states are those of local files, a missing object is a failed clip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from layerprobe.cache import FeatureStore
from layerprobe.cache.common.errors import ManifestError, StoreError
from layerprobe.cache.common.text import printable
from layerprobe.cache.remote import audio
from layerprobe.cache.remote.audio import audio_path, audio_url, is_audio_url, place_of
from layerprobe.cache.remote.retries import TransferError
from layerprobe.cache.store import failures
from layerprobe.classify.data.dataset import join_labels
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.extract.run import embed
from layerprobe.embed.manifest.clips import read_manifest, write_manifest
from tests.run import write_corpus
from tests.s3_server import s3_server, use


@pytest.fixture(scope="module")
def running():
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(running, tmp_path, monkeypatch):
    use(running, tmp_path, monkeypatch)
    forget()
    return running


def forget() -> None:
    """What another process does not know."""
    audio._seen.clear()
    audio._fetched.clear()
    audio._answered.clear()
    audio._lost.clear()


@pytest.fixture
def corpus(s3, tmp_path) -> Path:
    """A table of six local files; they are in the bucket too."""
    table = write_corpus(tmp_path / "local", clips=6)
    for path in sorted(table.parent.glob("*.wav")):
        s3.put(f"audio/{path.name}", path.read_bytes())
    return table


def at(table: Path, place: str, out: Path) -> Path:
    """The table with its files at a URL."""
    out.write_text(table.read_text().replace("\nclip", f"\n{place}/clip"))
    return out


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_states_are_those_of_local_files(s3, corpus, tmp_path, scheme):
    place = "s3://states/audio" if scheme == "s3" else f"{s3.endpoint}/states/audio"
    table = at(corpus, place, tmp_path / "clips.csv")
    config = EmbedConfig(model="mfcc", cache=tmp_path / "features")
    here = FeatureStore(embed(read_manifest(corpus), config).store)
    clips = read_manifest(table)
    assert clips[0].id == f"{place}/clip000.wav"
    done = embed(clips, dataclasses.replace(config, cache=tmp_path / "other"))
    assert (done.embedded, done.failures) == (6, {})
    there = FeatureStore(done.store)
    assert there.keys() == here.keys()
    np.testing.assert_array_equal(there.layer("mfcc", here.keys()), here.layer("mfcc", here.keys()))
    assert sorted(there.paths(there.keys())) == [f"{place}/clip00{i}.wav" for i in range(6)]
    assert s3.faults.count("GET", "/audio/") == 6
    assert len(join_labels(clips, there, target="emotion").ids) == 6
    forget()
    again = embed(read_manifest(table), dataclasses.replace(config, cache=tmp_path / "other"))
    assert (again.embedded, again.cached) == (0, 6)
    assert s3.faults.count("GET", "/audio/") == 6  # known by size and ETag
    write_manifest(clips, tmp_path / "written.csv")
    assert [clip.id for clip in read_manifest(tmp_path / "written.csv")] == [clip.id for clip in clips]


def test_copies_that_were_deleted_are_downloaded_again_and_changed_objects_have_other_states(
    s3, corpus, tmp_path
):
    table = at(corpus, "s3://states/audio", tmp_path / "clips.csv")
    config = EmbedConfig(model="mfcc", cache=tmp_path / "features")
    embed(read_manifest(table), config)
    for clip in read_manifest(table):
        clip.path.unlink()
    s3.put("audio/clip000.wav", (corpus.parent / "clip001.wav").read_bytes())  # now another's copy
    write_corpus(tmp_path / "new", clips=2, seed=3)
    s3.put("audio/clip001.wav", (tmp_path / "new" / "clip001.wav").read_bytes())
    forget()
    done = embed(read_manifest(table), config)
    assert (done.embedded, done.cached) == (1, 5)
    frames = embed(read_manifest(table), dataclasses.replace(config, frames=True, layers="mfcc"))
    assert frames.embedded == 6
    store = FeatureStore(done.store)
    read = read_manifest(table)
    s3.put("audio/clip002.wav", (corpus.parent / "clip003.wav").read_bytes())
    read[2].path.unlink()
    with pytest.raises(OSError, match="was changed during the run"), audio.available(read[2].path):
        pass
    assert len(store) == 7


def test_copies_keep_to_their_size_while_a_run_reads_more(s3, corpus, tmp_path, monkeypatch):
    table = at(corpus, "s3://states/audio", tmp_path / "clips.csv")
    monkeypatch.setenv("LAYERPROBE_MIRROR_SIZE", "40KB")
    done = embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "features"))
    assert done.embedded == 6
    copies = list((tmp_path / "mirror").rglob("*.wav"))
    assert sum(path.stat().st_size for path in copies) < 80_000  # the limit, and what is open


def test_a_missing_or_forbidden_object_is_a_failed_clip(s3, corpus, tmp_path):
    table = at(corpus, "s3://states/audio", tmp_path / "clips.csv")
    s3.client.delete_object(Bucket="states", Key="audio/clip002.wav")
    done = embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "features"))
    assert done.embedded == 5
    ((name, reason),) = done.failures.items()
    assert name == ("s3://states/audio/clip002.wav", None, None)
    assert reason == "cannot be read (does not exist)"
    store = FeatureStore(done.store)
    assert list(failures.read(store.folder)) == [name]
    data = join_labels(read_manifest(table), store, target="emotion")
    assert list(data.excluded) == [name[0]]
    s3.faults.plan = ["403"]
    forget()
    audio.ask([audio_path("s3://states/audio/clip001.wav")])
    with pytest.raises(PermissionError, match="access is refused"):
        audio.version_times(audio_path("s3://states/audio/clip001.wav"))


@pytest.mark.parametrize("fault", ["lost", "503", "cut"])
@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_lost_connections_are_tried_again_and_then_one_line(s3, corpus, tmp_path, fault, scheme):
    place = "s3://states/audio" if scheme == "s3" else f"{s3.endpoint}/states/audio"
    path = audio_path(f"{place}/clip000.wav")
    s3.faults.plan, s3.faults.only = [fault] * 2, ("GET",)
    with audio.available(path):
        assert Path(path).read_bytes() == (corpus.parent / "clip000.wav").read_bytes()
    assert s3.faults.plan == []
    s3.faults.only, s3.faults.always = ("GET", "HEAD"), "503"
    clips = read_manifest(at(corpus, place, tmp_path / "clips.csv"))
    with pytest.raises(StoreError, match=r"clip00\d.wav: no usable answer after 6 attempts"):
        embed(clips, EmbedConfig(model="mfcc", cache=tmp_path / "features"))


@pytest.mark.parametrize("when", ["asked", "downloaded"])
def test_one_file_whose_connection_is_always_lost_is_a_failed_clip(s3, corpus, tmp_path, monkeypatch, when):
    table = at(corpus, "s3://states/audio", tmp_path / "clips.csv")
    call = {"asked": "describe", "downloaded": "download"}[when]
    usual = getattr(audio.ObjectFolder, call)

    def lossy(self, name, *args, **kwargs):
        if name == "clip002.wav":
            raise TransferError("no usable answer after 6 attempts (lost)", where=name)
        return usual(self, name, *args, **kwargs)

    monkeypatch.setattr(audio.ObjectFolder, call, lossy)
    done = embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "features"))
    assert done.embedded == 5
    assert done.failures == {
        (
            "s3://states/audio/clip002.wav",
            None,
            None,
        ): "cannot be read (no usable answer after 6 attempts (lost))"
    }
    monkeypatch.undo()
    use(s3, tmp_path, monkeypatch)
    for path in sorted(corpus.parent.glob("*.wav")):
        s3.put(f"audio/{path.name}", path.read_bytes())
    forget()
    again = embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "features"))
    assert (again.embedded, again.failures) == (1, {})


def test_many_lost_connections_end_the_run(s3, corpus, tmp_path, monkeypatch):
    table = at(corpus, "s3://states/audio", tmp_path / "clips.csv")

    def lossy(self, name, *args, **kwargs):
        raise TransferError("no usable answer after 6 attempts (lost)", where=name)

    monkeypatch.setattr(audio.ObjectFolder, "download", lossy)
    with pytest.raises(StoreError, match="no usable answer after 6 attempts"):
        embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "features"))


def test_a_file_that_does_not_fit_the_disk_is_not_downloaded(s3, corpus, tmp_path, monkeypatch):
    table = at(corpus, "s3://states/audio", tmp_path / "clips.csv")
    monkeypatch.setattr(audio, "free_bytes", lambda folder: 1000)
    line = r"^s3://states/audio/clip\d+\.wav: needs [\d.]+ kB, but 1 kB are free .*LAYERPROBE_MIRROR"
    with pytest.raises(StoreError, match=line):
        embed(read_manifest(table), EmbedConfig(model="mfcc", cache=tmp_path / "features"))
    assert s3.faults.count("GET", "clip") == 0


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        (
            "https://user:secret@host/a.wav",
            "a URL with credentials or parameters: https://…; write it without",
        ),
        ("https://host/a.wav?X-Amz-Signature=secret", "a URL with credentials or parameters"),
        ("s3://bucket", "a URL that names no file: s3://bucket"),
        ("s3://bucket/../a.wav", "a URL that names no file"),
        ("https://host//a.wav", "a URL that names no file"),
        ("https://host:secret/a.wav", "a URL with a wrong host or port: https://…"),
        ("https://[::1/a.wav", "a URL with a wrong host or port: https://…"),
    ],
)
def test_a_url_that_names_no_file_is_a_problem_of_its_row(tmp_path, cell, fault):
    table = tmp_path / "clips.csv"
    table.write_text(f"path,emotion\n{cell},a\n")
    with pytest.raises(ManifestError) as raised:
        read_manifest(table)
    assert fault in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_path_and_its_url(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERPROBE_MIRROR", str(tmp_path))
    url = "s3://bucket/a b/ü%20.wav"
    path = audio_path(url)
    assert path.startswith(str(tmp_path))
    assert (audio_url(path), audio_url(Path(path)), place_of(path)) == (url, url, url)
    assert audio_url("/data/a.wav") is None
    assert place_of("data/a.wav") == "data/a.wav"
    assert printable(f"{path}: broken") == f"{url}: broken"
    assert [is_audio_url(cell) for cell in ("HTTPS://h/a", "az://c/a", "ftp://h/a", "a.wav")] == [
        True,
        True,
        False,
        False,
    ]
