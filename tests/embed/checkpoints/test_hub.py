"""Downloads from a hub on this machine: complete, cut, damaged, refused; and how long a missing one takes."""

from __future__ import annotations

import inspect
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.hub import MAX_RESTARTS, fetch_snapshot
from layerprobe.embed.checkpoints.source import files_hash
from layerprobe.embed.config import EmbedConfig
from layerprobe.embed.models.backbones import open_backbone
from layerprobe.embed.models.presets import PRESETS, Preset
from layerprobe.embed.models.sources import find_model
from tests.hub import COMMIT, MODEL, Hub, files_of, serve
from tests.run import cli, refused
from tests.tiny import save_tiny

pytestmark = pytest.mark.slow

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    return files_of(save_tiny(tmp_path_factory.mktemp("model"), "wavlm-group", normalise=False))


@pytest.fixture
def hub(files, tmp_path, monkeypatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with serve(dict(files)) as served:
        use(served.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield served


@pytest.fixture
def small_pieces(monkeypatch) -> None:
    """Transfers in pieces of 100 bytes instead of 10 MB, resumed without a second of waiting."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def blob_of(folder: Path, name: str) -> Path:
    blob = (folder / name).resolve()
    assert blob.parent.name == "blobs"
    return blob


def refusal(revision: str | None = None, model: str = MODEL) -> str:
    with pytest.raises(ModelError) as error:
        find_model(model, revision=revision)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_a_download_is_complete_and_the_next_run_needs_no_network(hub, monkeypatch):
    source = find_model(MODEL)
    assert source.revision == COMMIT
    assert source.normalise is False
    assert source.weight_files()[0].read_bytes() == hub.files[WEIGHTS]
    use("http://127.0.0.1:1", monkeypatch)
    assert find_model(MODEL, offline=True) == source
    assert find_model(MODEL, revision=COMMIT) == source  # a commit never changes
    assert find_model(MODEL) == source


def test_a_second_run_asks_for_no_file_that_is_here(hub):
    fetch_snapshot(MODEL, revision=None)
    hub.asked.clear()
    fetch_snapshot(MODEL, revision=None)
    assert set(hub.asked) == {f"HEAD main {CONFIG}"}


def test_weights_in_several_files_are_all_fetched(hub, tmp_path):
    from transformers import AutoModel

    folder = save_tiny(tmp_path / "one", "hubert-group")
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path / "many", max_shard_size="40KB")
    hub.files = files_of(tmp_path / "many") | {
        "preprocessor_config.json": (folder / "preprocessor_config.json").read_bytes()
    }
    source = find_model(MODEL)
    assert len(source.weight_files()) > 1
    open_backbone(EmbedConfig(model=MODEL, cache=tmp_path / "cache", device="cpu"))


def test_a_random_twin_fetches_no_weights(hub):
    find_model(f"random:{MODEL}")
    assert not any(WEIGHTS in request for request in hub.asked)


def test_normalisation_comes_from_a_nested_processor_file(hub):
    del hub.files["preprocessor_config.json"]
    nested = {"feature_extractor": {"do_normalize": False, "sampling_rate": 16_000}}
    hub.files["processor_config.json"] = json.dumps(nested).encode()
    assert find_model(MODEL).normalise is False


def test_a_model_that_does_not_say_how_to_prepare_clips_is_refused(hub):
    del hub.files["preprocessor_config.json"]
    line = refusal()
    assert "add preprocessor_config.json" in line
    assert '"do_normalize"' in line


def test_a_cache_that_transformers_filled_lacks_the_normalisation(hub, monkeypatch):
    """`AutoModel.from_pretrained` fetches no preprocessor_config.json: it is fetched when first needed, and
    without a network the preset decides, or the model is refused."""
    from huggingface_hub import hf_hub_download

    for name in (CONFIG, WEIGHTS):
        hf_hub_download(MODEL, name)
    hub.status = 500
    assert "add preprocessor_config.json" in refusal()
    monkeypatch.setitem(PRESETS, "ours", Preset(hub_id=MODEL, architecture="", normalise=False))
    assert find_model(MODEL).normalise is False
    monkeypatch.setitem(PRESETS, "ours", Preset(hub_id=MODEL, architecture="", normalise=None))
    assert "add preprocessor_config.json" in refusal()
    monkeypatch.delitem(PRESETS, "ours")
    hub.status = 200
    assert find_model(MODEL).normalise is False


def test_a_cut_download_is_refused_and_resumed(hub, tmp_path):
    hub.cut[WEIGHTS] = 1_000
    line = refusal()
    assert "cut short" in line
    assert "run this again" in line
    with pytest.raises(ModelError, match="no complete download"):
        find_model(MODEL, offline=True)
    hub.cut.clear()
    assert find_model(MODEL).weight_files()[0].read_bytes() == hub.files[WEIGHTS]


def test_a_transfer_that_is_cut_off_again_and_again_is_resumed(hub, small_pieces):
    hub.drop[WEIGHTS] = len(hub.files[WEIGHTS]) // 7
    assert find_model(MODEL).weight_files()[0].read_bytes() == hub.files[WEIGHTS]
    assert hub.asked.count(f"GET {COMMIT} {WEIGHTS}") == 8


def test_a_transfer_that_starts_over_again_and_again_is_given_up(hub, small_pieces):
    """As behind a proxy that cuts each transfer and ignores which part of the file is asked for."""
    hub.drop[WEIGHTS], hub.resumes = 1_000, False
    line = refusal()
    assert f"cut off {MAX_RESTARTS + 1} times, each time from its first byte" in line
    assert "give a local folder" in line
    assert hub.asked.count(f"GET {COMMIT} {WEIGHTS}") == MAX_RESTARTS + 2


def test_a_transfer_in_very_many_pieces_is_given_up(hub, small_pieces, monkeypatch):
    """huggingface_hub calls itself for each piece, as deep as Python allows."""
    hub.drop[WEIGHTS] = 100
    depth, limit = len(inspect.stack()), sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 150)
    try:
        line = refusal()
    finally:
        sys.setrecursionlimit(limit)
    assert "cut off again and again" in line


def test_a_damaged_download_of_the_right_length_is_refused(hub, tmp_path):
    hub.damage.add(WEIGHTS)
    source = find_model(MODEL)
    with pytest.raises(ModelError, match="its SHA-256 begins with") as error:
        files_hash(source, tmp_path / "cache")
    blob = blob_of(source.weight_files()[0].parent, WEIGHTS)
    assert f"delete {blob}" in str(error.value)
    with pytest.raises(ModelError, match="its SHA-256 begins with"):
        open_backbone(EmbedConfig(model=MODEL, cache=tmp_path / "cache", device="cpu"))
    blob.unlink()  # the advice works
    hub.damage.clear()
    files_hash(find_model(MODEL), tmp_path / "cache")


def test_a_damaged_configuration_names_its_blob(hub):
    folder, _ = fetch_snapshot(MODEL, revision=None)
    blob = blob_of(folder, CONFIG)
    blob.write_text("{")
    assert f"delete {blob}" in refusal()


@pytest.mark.parametrize(
    ("status", "code", "headers", "expected"),
    [
        (403, "GatedRepo", {}, ("requires its terms to be accepted", "hf auth login")),
        (401, "RepoNotFound", {}, ("the hub has no owner/model", "check the spelling")),
        (404, "EntryNotFound", {}, ("has no config.json",)),
        (403, "", {}, ("HTTP 403", "token")),
        (429, "", {"Retry-After": "30"}, ("HTTP 429", "wait 30 s")),
        (429, "", {}, ("HTTP 429", "wait a few minutes")),
        (500, "", {}, ("HTTP 500", "try again later")),
        (503, "", {}, ("HTTP 503", "try again later")),
        (404, "", {}, ("HTTP 404 without the hub's own reason", "HF_ENDPOINT")),
        (418, "", {}, ("HTTP 418",)),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_with_its_status(hub, status, code, headers, expected):
    hub.status, hub.code, hub.headers = status, code, headers
    line = refusal()
    for words in expected:
        assert words in line


def test_a_missing_revision_is_named(hub):
    assert "has owner/model, but no revision v2" in refusal("v2")
    hub.revisions = ("v2", *hub.revisions)
    assert find_model(MODEL, revision="v2").revision == COMMIT


def test_a_missing_model_is_named(hub):
    assert "the hub has no owner/other" in refusal(model="owner/other")


def test_an_answer_from_something_else_than_a_hub_is_recognised(hub):
    hub.bare = True
    assert "something else than a hub" in refusal()


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_an_earlier_download_is_used_when_the_hub_refuses(hub, status, capsys):
    source = find_model(MODEL)
    hub.status = status
    assert find_model(MODEL) == source
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: ")
    assert f"HTTP {status}" in note or "no owner/model" in note
    assert "using the earlier download of owner/model, commit c0ffee00" in note


def test_a_hub_that_never_answers_is_given_up(hub):
    source = find_model(MODEL)
    hub.silent.set()
    try:
        assert find_model(MODEL) == source  # while the hub still waits
        assert hub.silent.is_set()
    finally:
        hub.silent.clear()


def test_an_address_whose_lookup_never_ends_is_given_up(hub, monkeypatch):
    """Looking up an address obeys no time limit of HTTP."""
    source = find_model(MODEL)
    release = threading.Event()
    use("http://hub.invalid", monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(60) and [])
    assert find_model(MODEL) == source
    release.set()


def test_no_file_is_waited_for_twice(hub, monkeypatch):
    """Without an earlier download, one refusal is the answer: no request is repeated."""
    hub.status = 500
    refusal()
    assert hub.asked == [f"HEAD main {CONFIG}"]


@pytest.mark.parametrize("offline", ["0", "1"])
def test_the_command_uses_the_earlier_download_without_a_network(hub, tmp_path, monkeypatch, offline):
    """In a process of its own, where only the environment tells where the hub is."""
    find_model(MODEL)
    environment = {
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": offline,
    }

    def doctor(model: str) -> subprocess.CompletedProcess[str]:
        words = ("doctor", model, "--device", "cpu")
        return cli(*words, environment=environment, reload=("huggingface_hub.constants",))

    done = doctor(MODEL)
    assert done.returncode == 0, done.stderr
    assert ("using the earlier download" in done.stderr) == (offline == "0")
    line = refused(doctor("owner/other"))
    assert ("cannot fetch owner/other" in line) == (offline == "0")
    assert ("unset HF_HUB_OFFLINE" in line) == (offline == "1")
