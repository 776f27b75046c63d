"""Runs `python cli.py …` in forks of one process that has imported everything already.

Hundreds of tests run a command. Its imports (torch, scikit-learn, optuna) would take longer than most of the
commands. Each command still has a process of its own: its exit status, files, signals and memory are real.
Tests of starting up and of Ctrl-C meanwhile start new interpreters (`CLI` in tests/run.py).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    *("optuna", "sklearn.svm", "torch", "transformers", "xgboost"),
    *(f"matplotlib.backends.backend_{kind}" for kind in ("agg", "svg", "pdf")),
    "skops.io",
)
LARGEST_REQUEST = 1 << 20  # bytes


def preload() -> None:
    """Import what commands import. Threads do not survive a fork, so no import may rely on one."""
    import layerprobe
    from tests.migrations import read_once

    for name in HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(layerprobe.__path__, "layerprobe."):
        if module.name.startswith(("layerprobe.cache.", "layerprobe.embed.", "layerprobe.classify.")):
            importlib.import_module(module.name)
    read_once()
    gc.freeze()


def serve(connection: socket.socket) -> list[str]:
    """Fork for each request; returns, in the fork, its script and arguments. Exits when the client closes.

    A request is a JSON document (see `prepare`) with four descriptors: stdin, stdout, stderr, and a socket to
    which the process's number is written, and its exit status, as `os.waitpid` gives it, once it has ended.
    """
    running: dict[int, socket.socket] = {}
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([connection.fileno(), read], [], [])
        if read in ready:
            os.read(read, 1 << 16)
            for number in list(running):
                ended, status = os.waitpid(number, os.WNOHANG)
                if ended:
                    with running.pop(number) as client:
                        client.sendall(f"{status}\n".encode())
        if connection.fileno() not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(connection, LARGEST_REQUEST, 4)
        if not request:
            sys.exit(0)
        client = socket.socket(fileno=descriptors.pop())
        command = os.fork()
        if command == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (connection, client, *running.values()):
                other.close()
            return prepare(json.loads(request), descriptors)
        for received in descriptors:
            os.close(received)
        client.sendall(f"{command}\n".encode())
        running[command] = client


def prepare(request: dict[str, Any], descriptors: list[int]) -> list[str]:
    """Become the requested command; returns its words.

    words: a script and its arguments. folder: where it runs. environment: variables that differ. reload:
    modules that read these when they are imported. settings: attributes of modules, name → value.
    """
    for own, received in enumerate(descriptors):
        os.dup2(received, own)
        os.close(received)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    for name in request["reload"]:
        importlib.reload(importlib.import_module(name))
    for name, value in request["settings"].items():
        module, _, attribute = name.rpartition(".")
        getattr(importlib.import_module(module), attribute)  # raises where there is nothing to set
        setattr(sys.modules[module], attribute, value)
    words: list[str] = request["words"]
    return words


def run_to_the_end(path: Path) -> int:
    """Run a script as `python PATH` does, with its exit handlers; the exit status."""
    status: object = 0
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status if isinstance(status, int) else int(status is not None)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    preload()
    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])))
    # Without the interpreter's own end: freeing every module takes longer than most commands.
    os._exit(run_to_the_end(ROOT / sys.argv[0]))
