"""An S3 server on loopback for tests (moto's), behind a proxy that can lose, delay and refuse requests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faulty_proxy import Faults, faulty_proxy

KEY, SECRET = "test-key", "a-secret-that-is-nowhere"


@dataclass
class Server:
    """A bucket on the server; `client` is boto3's, which goes past the proxy."""

    endpoint: str
    bucket: str
    client: Any
    faults: Faults

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    def names(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]

    def content(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read())

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=name, Body=content, ACL="public-read")

    def empty(self) -> None:
        for name in self.names():
            self.client.delete_object(Bucket=self.bucket, Key=name)


@contextmanager
def s3_server() -> Iterator[Server]:
    """The server with one empty bucket; skips the test where moto or s3fs is not installed."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        with faulty_proxy() as proxy:
            proxy.upstream = (host, port)
            keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
            client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
            client.create_bucket(Bucket="states")
            yield Server(proxy.endpoint, "states", client, proxy.faults)
            client.close()
    finally:
        moto.stop()


def use(server: Server, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Empty the bucket, end all faults, and let this process use the server with local copies in `folder`."""
    import fsspec

    from layerprobe.cache.remote import retries
    from layerprobe.cache.store.location import remote_cache

    server.empty()
    server.faults.__init__()  # type: ignore[misc]
    for name, value in environment(server, folder).items():
        patch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "LAYERPROBE_CACHE", "LAYERPROBE_MIRROR_SIZE"):
        patch.delenv(name, raising=False)
    patch.setattr(retries, "FIRST_WAIT", 0.01)
    remote_cache.remote_cache.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def environment(server: Server, folder: Path) -> dict[str, str]:
    mirror = {"LAYERPROBE_MIRROR": str(folder / "mirror")}
    return {**settings(server.endpoint, KEY, SECRET, folder), **mirror}


def settings(endpoint: str, key: str, secret: str, folder: Path) -> dict[str, str]:
    """What leads a client to a server, and to no credentials of this machine."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
    }
