"""The endpoints of `serve`, without a network: predictions, limits and refusals."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.predict.bundle import Bundle, load_bundle
from layerprobe.classify.serve.app import create_app, describe
from layerprobe.classify.serve.limits import Limits
from tests.bundles import make_run
from tests.run import tone

WAIT = 60  # seconds, of a test that waits


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("serve")
    return load_bundle(make_run(folder, model="mfcc", layers=("mfcc",), heads=("logreg",)) / "bundle")


@pytest.fixture
def client(bundle: Bundle) -> Iterator[TestClient]:
    with TestClient(create_app(bundle, Limits())) as client:
        yield client


def sound(seconds: float = 1.0, *, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, seed=3), 16_000, format=kind)
    return file.getvalue()


def test_a_form_and_a_body_give_what_the_bundle_predicts(client: TestClient, bundle: Bundle, tmp_path: Path):
    content = sound()
    (tmp_path / "x.wav").write_bytes(content)
    expected = bundle.predict_proba(str(tmp_path / "x.wav"))
    form = client.post("/predict", files={"file": ("x.wav", content, "audio/wav")})
    body = client.post("/predict", content=content, headers={"content-type": "audio/wav"})
    for answer in (form, body):
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert list(found["probabilities"]) == list(bundle.labels)
        np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-6)
        assert found["label"] == bundle.labels[int(expected.argmax())]
        assert found["seconds"] == 1.0
    assert form.json()["file"] == "x.wav"


def test_windows_and_the_reject_option(client: TestClient):
    url = "/predict?window=1&hop=0.5&min_confidence=1"
    answer = client.post(url, content=sound(2.0)).json()
    assert [(one["start"], one["end"]) for one in answer["windows"]] == [(0, 1), (0.5, 1.5), (1, 2)]
    assert {one["label"] for one in answer["windows"]} == {None}


@pytest.mark.parametrize(
    ("query", "content", "status", "text"),
    [
        ("", b"", 422, "the recording is empty"),
        ("", b"not sound", 422, "the recording cannot be used"),
        ("", sound(1.0)[:-8000], 422, "the recording cannot be used"),
        ("?hop=1", sound(), 422, "give window too"),
        ("?window=nan", sound(), 422, "window nan"),
        ("?min_confidence=2", sound(), 422, "give 0 to 1"),
        ("?min_confidence=x", sound(), 422, "min_confidence: Input should be a valid number"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(
    client: TestClient, query: str, content: bytes, status: int, text: str
):
    answer = client.post(f"/predict{query}", content=content)
    assert answer.status_code == status
    assert text in answer.text
    assert "/tmp" not in answer.text  # no path of the server
    assert client.post("/predict", files={"other": ("x", b"1")}).status_code == 422


def test_every_error_has_the_same_field(client: TestClient):
    """Also those of the web framework: unknown paths and methods, parameters and forms it cannot parse."""
    form = {"content-type": "multipart/form-data"}
    for answer, status in (
        (client.get("/nothing"), 404),
        (client.get("/predict"), 405),
        (client.post("/predict?window=x", content=sound()), 422),
        (client.post("/predict", content=sound(), headers=form), 400),
    ):
        assert answer.status_code == status
        assert list(answer.json()) == ["error"], answer.text


def test_a_name_is_no_path(client: TestClient, tmp_path: Path):
    evil = f"{tmp_path}/evil.wav"
    answer = client.post("/predict", files={"file": (f"../../{evil}", sound(), "audio/wav")})
    assert answer.json()["file"] == "evil.wav"
    assert not Path(evil).exists()


def test_size_and_length_are_limited(bundle: Bundle):
    limits = Limits(max_bytes=40_000, max_seconds=1.0)
    with TestClient(create_app(bundle, limits)) as client:
        assert client.post("/predict", content=sound(1.0)).status_code == 200
        long = client.post("/predict", content=sound(1.2))
        assert (long.status_code, "1 s, more than 1" in long.text) == (413, True)
        for large in (
            client.post("/predict", content=sound(2.0)),
            client.post("/predict", files={"file": ("x.wav", sound(2.0), "audio/wav")}),
            client.post("/predict", content=iter([sound(2.0)])),  # its length is not announced
        ):
            assert large.status_code == 413
            assert "larger than 40 kB" in large.text


class SlowBundle:
    """A bundle whose predictions wait until they are let go."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.labels, self.content = bundle, bundle.labels, bundle.content
        self.go, self.begun = threading.Event(), threading.Semaphore(0)

    def select_sound(self, clips):
        return self.bundle.select_sound(clips)

    def predict_clips(self, *arguments, **options):
        self.begun.release()
        assert self.go.wait(WAIT)
        return self.bundle.predict_clips(*arguments, **options)


def test_more_requests_than_the_queue_holds_are_refused_and_others_wait(bundle: Bundle):
    slow = SlowBundle(bundle)
    limits = Limits(concurrency=1, queue=1)
    app = create_app(slow, limits)  # type: ignore[arg-type]
    with TestClient(app) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/predict", content=sound())
        assert slow.begun.acquire(timeout=WAIT)
        second = pool.submit(client.post, "/predict", content=sound())
        for _ in range(WAIT * 20):
            if app.state.workers.held == 2:
                break
            time.sleep(0.05)
        refused = client.post("/predict", content=sound())
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert client.get("/about").status_code == 200
        slow.go.set()
        assert [first.result(WAIT).status_code, second.result(WAIT).status_code] == [200, 200]
        assert client.post("/predict", content=sound()).status_code == 200


def test_a_prediction_that_takes_too_long_is_given_up(bundle: Bundle):
    slow = SlowBundle(bundle)
    limits = Limits(concurrency=1, queue=0, request_timeout=0.5)
    with TestClient(create_app(slow, limits)) as client:  # type: ignore[arg-type]
        late = client.post("/predict", content=sound())
        assert (late.status_code, "no prediction within 0.5 s" in late.text) == (504, True)
        # Its thread still works, so that no other begins.
        assert client.post("/predict", content=sound()).status_code == 503
        slow.go.set()


def test_pages_of_other_sites_are_refused(bundle: Bundle):
    app = create_app(bundle, Limits(), hosts=("127.0.0.1", "localhost", "::1"))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"host": "[::1]:8000"}).status_code == 200
        assert client.get("/", headers={"host": "evil.example"}).status_code == 403
        assert (
            client.post("/predict", content=sound(), headers={"origin": "http://evil.example"}).status_code
            == 403
        )
        own = {"origin": "http://127.0.0.1:8000"}
        assert client.post("/predict", content=sound(), headers=own).status_code == 200


def test_the_page_loads_nothing_from_elsewhere_and_shows_names_as_text(bundle: Bundle):
    class Named(SlowBundle):
        labels = ("<img src=x onerror=alert(1)>",)

    named = Named(bundle)
    named.content = {**bundle.content, "target": "<script>alert(1)</script>"}
    with TestClient(create_app(named, Limits())) as client:  # type: ignore[arg-type]
        answer = client.get("/")
    assert "<script>alert(1)" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy


@pytest.mark.parametrize(
    "change",
    [
        {"max_bytes": 0},
        {"max_seconds": 0},
        {"request_timeout": float("nan")},
        {"concurrency": 0},
        {"queue": -1},
    ],
)
def test_limits_that_cannot_be_met_are_refused(change):
    with pytest.raises(InputError, match="or more"):
        Limits(**change)


def test_a_fine_tuned_model_is_described_by_what_it_was_made_of():
    content = {"kind": "finetuned", "target": "emotion", "base_model": "hubert-base", "labels": ["a", "b"]}
    bundle: Any = SimpleNamespace(content=content, labels=("a", "b"))
    about = describe(bundle)
    assert (about["system"], about["model"]) == ("hubert-base, fine-tuned", "hubert-base")
    with TestClient(create_app(bundle, Limits())) as client:
        page = client.get("/").text
    assert "hubert-base, fine-tuned." in page
    assert "None" not in page
