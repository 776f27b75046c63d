"""`serve` as a process, and its page in a real browser: headless Chromium records, drops and reads it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import soundfile
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from layerprobe.cache.common.errors import InputError
from layerprobe.classify.predict.bundle import load_bundle
from layerprobe.classify.serve.app import create_app
from layerprobe.classify.serve.command import ServeOptions, bind, serve
from layerprobe.classify.serve.limits import Limits
from tests.bundles import make_run
from tests.run import Command, cli, refused, start_cli, tone

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 240  # seconds
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a microphone that beeps
)
# Runs in the page: records for a second, then drops a file, then one that is no sound; reports what it shows.
USE = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (test) => { for (let k = 0; k < 1200 && !test(); k++) await wait(100); };
const answered = () => !byId("result").hidden || byId("error").textContent;
const read = () => ({ label: byId("label").textContent, status: byId("status").textContent,
  error: byId("error").textContent, hidden: byId("result").hidden,
  rows: [...byId("bars").rows].map((row) => [row.cells[0].textContent, Number(row.cells[2].textContent)]),
  bold: document.querySelectorAll("#result b").length });
(async () => {
  const seen = { errors: [] };
  addEventListener("error", (event) => seen.errors.push(event.message));
  addEventListener("securitypolicyviolation", (event) => seen.errors.push(event.violatedDirective));
  record.click();
  await until(() => recorder && recorder.state === "recording");
  seen.button = record.textContent;
  await wait(1500);
  record.click();
  await until(() => recorder === null && answered());
  seen.recorded = read();
  const drop = async (file) => {
    const data = new DataTransfer();
    data.items.add(file);
    dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
    await until(answered);
    return read();
  };
  const content = await (await fetch("sound.wav")).arrayBuffer();
  seen.dropped = await drop(new File([content], "<b>x</b>.wav"));
  seen.broken = await drop(new File(["not sound"], "broken.wav"));
  await fetch("seen", { method: "POST", body: JSON.stringify(seen) });
})();
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    return make_run(folder, model="mfcc", layers=("mfcc",), heads=("logreg",)) / "bundle"


def sound() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(1.0, seed=3), 16_000, format="WAV")
    return file.getvalue()


def start(bundle: Path, *words: str) -> tuple[Command, IO[str], str]:
    """A server process, its output, and its address."""
    ours, theirs = os.pipe()
    process = start_cli("serve", bundle, "--port", "0", *words, given={1: theirs})
    os.close(theirs)
    killer = threading.Timer(WAIT, process.kill)
    killer.daemon = True
    killer.start()
    output = os.fdopen(ours)
    line = output.readline()
    assert line.startswith(f"serving {bundle} at http://127.0.0.1:"), line
    return process, output, line.split()[3].rstrip(";")


def test_a_system_that_scales_by_speaker_is_refused_before_the_server_starts(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, model="mfcc", layers=("mfcc",), heads=("logreg",), trials=1, scalings=("speaker",)
    )
    with pytest.raises(InputError) as error:
        serve(ServeOptions(run / "bundle", port=0))
    line = str(error.value)
    assert line.startswith(f"{run / 'bundle'}: scales each clip by the other clips of its speaker")
    assert "without 'speaker' in --scalings, or use `predict` on a table" in line
    assert "\n" not in line


def test_a_server_predicts_refuses_its_port_to_others_and_ends_with_one_line(bundle: Path):
    process, output, address = start(bundle)
    try:
        answer = httpx.post(f"{address}/predict", content=sound(), timeout=WAIT)
        assert answer.status_code == 200
        assert answer.json()["label"] in ("a", "b", "c")
        assert httpx.get(address, timeout=WAIT).text.startswith("<!doctype html>")
        assert httpx.get(address, headers={"host": "evil.example"}, timeout=WAIT).status_code == 403
        port = address.rpartition(":")[2]
        line = refused(cli("serve", bundle, "--port", port))
        assert line == f"error: port {port} is in use; give another --port, or 0 for any free one"
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped: the server has ended"
    assert "Traceback" not in errors
    with output:
        assert output.read() == ""


def test_what_cannot_be_served_is_one_line(bundle: Path, tmp_path: Path):
    assert "is no bundle" in refused(cli("serve", tmp_path))
    assert "is no address of this machine" in refused(cli("serve", bundle, "--host", "203.0.113.1"))
    assert "--port 70000" in refused(cli("serve", bundle, "--port", "70000"))
    assert "--max-bytes 5 apples" in refused(cli("serve", bundle, "--max-bytes", "5 apples"))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")
def test_the_page_records_drops_and_shows_names_as_text(bundle: Path):
    app = create_app(load_bundle(bundle), Limits())
    seen: dict[str, Any] = {}
    arrived = threading.Event()

    @app.post("/seen")
    async def receive(request: Request) -> None:
        seen.update(json.loads(await request.body()))
        arrived.set()

    @app.get("/sound.wav")
    async def example() -> Any:
        from fastapi.responses import Response

        return Response(sound())

    _add_test_page(app)
    listener = bind("127.0.0.1", 0)
    with _Running(app, listener) as address, tempfile.TemporaryDirectory() as profile:
        browser = subprocess.Popen(
            [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", f"{address}/test"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            assert arrived.wait(WAIT), "the page reported nothing"
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
    assert seen["errors"] == []
    assert seen["button"] == "Stop"
    for case in ("recorded", "dropped"):
        assert seen[case]["error"] == "", seen
        assert seen[case]["label"] in ("a", "b", "c")
        assert sorted(label for label, _ in seen[case]["rows"]) == ["a", "b", "c"]
        assert sum(value for _, value in seen[case]["rows"]) == pytest.approx(1, abs=0.01)
    assert seen["recorded"]["status"].startswith("recording.webm, ")
    assert seen["dropped"]["status"].endswith(".wav, 1.0 s")
    assert seen["dropped"]["bold"] == 0
    assert "cannot be used" in seen["broken"]["error"]
    assert seen["broken"]["hidden"]


def _add_test_page(app: FastAPI) -> None:
    """/test: the page, with the script of this test after its own."""
    from fastapi.testclient import TestClient

    @app.get("/test", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        original = TestClient(app).get("/")
        policy = original.headers["content-security-policy"]
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        text = original.text.replace("</body>", f'<script nonce="{nonce}">{USE}</script></body>')
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})


class _Running:
    """The application in a thread of this process, while the block runs; gives its address."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        self.listener = listener
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(WAIT)
