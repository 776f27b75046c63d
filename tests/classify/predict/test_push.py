"""`bundle push`: what is uploaded, and what is refused; the token is in no output."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerprobe.classify.predict.bundle import load_bundle
from tests.bundles import make_run
from tests.hub import MODEL, Hub, serve
from tests.run import cli

pytestmark = pytest.mark.slow
TOKEN = "hf_of_the_owner"
READERS = ("huggingface_hub.constants",)  # what reads the environment of a command when it is imported


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    return make_run(folder, model="mfcc", layers=("mfcc",), heads=("logreg",)) / "bundle"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve({}) as running:
        yield running


def push(
    hub: Hub, folder: Path, *words: str, repository: str = MODEL, **environment: str
) -> subprocess.CompletedProcess[str]:
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    place = {"HF_HOME": str(folder.parent / "hub")}
    done = cli(
        "bundle",
        "push",
        folder,
        repository,
        *words,
        environment={**place, **own, **environment},
        reload=READERS,
    )
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_complete_bundle_arrives_and_loads(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in bundle.iterdir()}
    (bundle / "notes.txt").write_text("not part of the bundle")
    done = push(hub, bundle, "--verbose")
    (bundle / "notes.txt").unlink()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"uploaded to  {hub.url}/{MODEL}\n"
    assert hub.pushed == files
    for name, content in hub.pushed.items():
        (tmp_path / name).write_bytes(content)
    assert load_bundle(tmp_path).labels == ("a", "b", "c")


def test_a_changed_file_is_refused_before_anything_is_sent(hub: Hub, bundle: Path) -> None:
    head = bundle / "head.safetensors"
    content = head.read_bytes()
    head.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = push(hub, bundle)
    head.write_bytes(content)
    assert done.returncode == 2
    assert "was changed since it was written" in done.stderr
    assert not hub.asked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"HF_TOKEN": "hf_wrong"}, "set HF_TOKEN to a valid token"),
        ({"HF_TOKEN": ""}, "no access token for the hub; set HF_TOKEN"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids connections"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9: cannot be reached"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_hub_that_cannot_be_used_is_one_line(
    hub: Hub, bundle: Path, change: dict[str, str], message: str
) -> None:
    done = push(hub, bundle, **change)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr
    assert "hf_wrong" not in done.stderr
    assert not hub.pushed


def test_a_hub_that_refuses_is_one_line(hub: Hub, bundle: Path) -> None:
    hub.status = 403
    done = push(hub, bundle)
    assert done.returncode == 2
    assert "refused the upload to owner/model" in done.stderr
    assert "permission to write to this repository" in done.stderr


@pytest.mark.parametrize("repository", ["model", "a/b/c", "own er/x", "-/--", "owner/x.git"])
def test_a_bad_name_is_refused(hub: Hub, bundle: Path, repository: str) -> None:
    done = push(hub, bundle, repository=repository)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not hub.pushed


def test_json(hub: Hub, bundle: Path) -> None:
    done = push(hub, bundle, "--private", "--json")
    assert json.loads(done.stdout) == {"out": f"{hub.url}/{MODEL}"}
