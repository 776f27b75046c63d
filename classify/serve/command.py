"""The command `serve`."""

from __future__ import annotations

import errno
import socket
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from layerprobe.cache.common.console import is_verbose, print_json, say
from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.interrupts import Interrupted
from layerprobe.cache.common.options import FLAT, Device, OutputOptions
from layerprobe.classify.config import WITHOUT_ONE_LABEL
from layerprobe.classify.serve.limits import Limits, check_port

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::")
CONNECTIONS = 200
GRACE = 5  # seconds for requests in progress when the server ends


@dataclass(frozen=True)
class ServeOptions:
    """Options of `serve`."""

    bundle: Path
    """Bundle: the folder bundle/ of a run folder, or models/fold-0 of a fine-tuning."""
    _: KW_ONLY
    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine only."""
    port: int = 8000
    """Port to listen on; 0 for any free one."""
    limits: Annotated[Limits, FLAT] = Limits()
    model: str | None = None
    """Where the backbone is, if it was moved: preset, hub id or local folder, with the same weights."""
    device: Device = "auto"
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def serve(options: Annotated[ServeOptions, FLAT]) -> None:
    """Serve a bundle as a web page that records or takes a file, and as a JSON endpoint.

    POST a recording to /predict: a form with a field `file`, or the file itself as the body. Ctrl-C ends the
    server.
    """
    check_port(options.port)
    from layerprobe.classify.predict.bundle import load_bundle

    bundle = load_bundle(options.bundle, model=options.model, device=options.device)
    if bundle.task in WITHOUT_ONE_LABEL:
        what = f"is of {WITHOUT_ONE_LABEL[bundle.task]}, and the page shows which label is probable"
        raise InputError(what, where=str(options.bundle), do="use predict")
    if bundle.needs_speakers:
        what = "scales each clip by the other clips of its speaker, which a server does not receive"
        do = "serve a bundle of a run without 'speaker' in --scalings, or use `predict` on a table"
        raise InputError(what, where=str(options.bundle), do=do)
    try:
        import python_multipart  # noqa: F401 — FastAPI reads forms with it
        import uvicorn

        from layerprobe.classify.serve.app import create_app
    except ImportError as error:
        what = f"serve requires packages that are not installed ({error.name})"
        raise InputError(what, do="pip install 'layerprobe[serve]'") from None
    listener = bind(options.host, options.port)
    bundle.extractor  # noqa: B018 — loads the backbone before the first request
    hosts = None if options.host in ANY else (*LOOPBACK, options.host.lower())
    app: FastAPI = create_app(bundle, options.limits, hosts=hosts)
    name = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{name}:{listener.getsockname()[1]}"
    if options.output.json:
        print_json({"address": address, "bundle": options.bundle})
    else:
        print(f"serving {options.bundle} at {address}; Ctrl-C ends it", flush=True)
    if options.host not in LOOPBACK:
        say("note: everyone who reaches this address can use it: no password, no encryption")
    config = uvicorn.Config(
        app,
        log_level="info" if is_verbose() else "warning",
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=CONNECTIONS,
        server_header=False,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        raise Interrupted("the server has ended") from None


def bind(host: str, port: int) -> socket.socket:
    """A socket on this address. Raises InputError for one that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} is in use", do="give another --port, or 0 for any free one"
            ) from None
        if error.errno == errno.EACCES:
            do = "give a --port of 1024 or more"
            raise InputError(f"port {port} is reserved for the system", do=do) from None
        what = f"--host {host} is no address of this machine ({error.strerror})"
        raise InputError(what, do="omit it, or give 0.0.0.0 for all addresses") from None
    return listener
