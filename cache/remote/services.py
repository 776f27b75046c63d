"""How the file system of each service is opened: its package, its time limits, one attempt for each call."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from functools import cache
from typing import Any

from layerprobe.cache.common.errors import InputError

CONNECT_SECONDS, ANSWER_SECONDS = 10, 30  # without an answer, the connection counts as lost
# The package of a scheme, and the extra that installs it.
_PACKAGES = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "az": ("adlfs", "az"),
    "https": ("aiohttp", "s3"),
    "http": ("aiohttp", "s3"),
}


def open_service(scheme: str) -> Any:
    """fsspec's file system of a scheme, which it creates once in a process. Raises InputError."""
    package, extra = _PACKAGES.get(scheme, ("fsspec", "s3"))
    if importlib.util.find_spec(package) is None:
        do = f"pip install 'layerprobe[{extra}]'"
        raise InputError(f"needs the package {package}", where=f"{scheme}://", do=do)
    try:
        return _OPENERS.get(scheme, _open_other)(scheme)
    except ValueError as error:  # adlfs, without the name of an account
        do = "set up the service's own credentials (docs/cache.md says which)"
        raise InputError(f"cannot be opened ({error})", where=f"{scheme}://", do=do) from error


def _open_other(scheme: str) -> Any:
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False)


def _open_s3(scheme: str) -> Any:
    import fsspec

    timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS}
    retries = {"total_max_attempts": 1, "mode": "standard"}
    files = fsspec.filesystem(
        scheme, use_listings_cache=False, config_kwargs={**timeouts, "retries": retries}
    )
    files.retries = 1
    return files


def _open_http(scheme: str) -> Any:
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False, client_kwargs={"timeout": _timeout()})


def _open_google(scheme: str) -> Any:
    return _google_once()(use_listings_cache=False, requests_timeout=_timeout())


def _open_azure(scheme: str) -> Any:
    import fsspec

    timeouts = {"connection_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS}
    files = fsspec.filesystem(scheme, use_listings_cache=False, **timeouts)
    with suppress(AttributeError):  # private: adlfs passes no options to Azure's client
        files.service_client._config.retry_policy.total_retries = 0
    return files


def _timeout() -> Any:
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)


@cache
def _google_once() -> Any:
    """gcsfs's file system without its own retries, which take minutes and cannot be switched off.

    Not its extended one, which asks for the type of a bucket by gRPC: a minute wherever that is not answered.
    """
    import logging

    from gcsfs.core import GCSFileSystem

    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs each lost connection with its traceback
    methods = ("_request", "_get_file_request", "_get_file_concurrent")
    found: dict[str, Any] = {name: getattr(GCSFileSystem, name, None) for name in methods}
    once = {name: method.__wrapped__ for name, method in found.items() if hasattr(method, "__wrapped__")}
    return type("GoogleFileSystem", (GCSFileSystem,), once)


_OPENERS = {
    "s3": _open_s3,
    "gs": _open_google,
    "az": _open_azure,
    "http": _open_http,
    "https": _open_http,
}
