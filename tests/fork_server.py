"""Runs `python cli.py …` in forks of one process that has imported everything already.

Hundreds of tests run a command. Its imports (torch, scikit-learn, optuna) would take longer than most of the
commands. Each command still has a process of its own: its exit status, files, signals and memory are real.
Tests of starting up, of Ctrl-C and of kills start new interpreters (`CLI` in tests/run.py).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("optuna", "sklearn.svm", "torch", "transformers", "xgboost")
LARGEST_REQUEST = 1 << 20  # bytes


def preload() -> None:
    """Import what commands import. Threads do not survive a fork, so no import may rely on one."""
    import layerprobe

    for name in HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(layerprobe.__path__, "layerprobe."):
        if module.name.startswith(("layerprobe.cache.", "layerprobe.embed.", "layerprobe.classify.")):
            importlib.import_module(module.name)
    gc.freeze()


def serve(connection: socket.socket) -> list[str]:
    """Fork for each request; returns, in the fork, the words of the command. Exits when the client closes.

    A request is a JSON document {words, folder} with two file descriptors, for stdout and stderr; the answer
    is the process's exit status as `os.waitpid` gives it.
    """
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, LARGEST_REQUEST, 2)
        if not request:
            sys.exit(0)
        command = os.fork()
        if command == 0:
            document = json.loads(request)
            connection.close()
            for own, received in zip((1, 2), descriptors, strict=True):
                os.dup2(received, own)
                os.close(received)
            os.chdir(document["folder"])
            words: list[str] = document["words"]
            return words
        for received in descriptors:
            os.close(received)
        connection.sendall(f"{command}\n".encode())
        connection.sendall(f"{os.waitpid(command, 0)[1]}\n".encode())


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
    sys.argv = ["cli.py", *serve(socket.socket(fileno=int(sys.argv[1])))]
    # Without the interpreter's own end: freeing every module takes longer than most commands.
    os._exit(run_to_the_end(ROOT / "cli.py"))
