"""Audio files at URLs: `s3://`, `gs://`, `az://`, `https://`. Each is a local path, whose file is downloaded.

The path follows from the URL, so a clip is a clip with a file like any other. What changes is seen by the
size and the ETag that the service gives: a copy of another version is downloaded again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from layerprobe.cache.common.disk import free_bytes, write_atomically
from layerprobe.cache.common.errors import ForbiddenError, StoreError
from layerprobe.cache.common.places import FOLDER_VARIABLE, mirrors_root
from layerprobe.cache.common.text import format_bytes, show_as
from layerprobe.cache.remote.local_copies import LocalCopies
from layerprobe.cache.remote.objects import CONNECTIONS, ObjectFolder, StoredObject
from layerprobe.cache.remote.retries import AbsentError, DamagedError, TransferError

T = TypeVar("T")

SCHEMES = ("s3", "gs", "az", "https", "http")
FOLDER = "layerprobe-audio"
_MARK = f"/{FOLDER}/"
_URL = re.compile(r"(?:s3|gs|az|https?)://", re.IGNORECASE)
_VERSION = ".version"  # file beside a copy: size and ETag of the object that it is a copy of

# Files of one server whose connections may be lost again and again, as failed clips; with more the run ends.
MOST_LOST, MOST_LOST_SHARE = 3, 0.01

_seen: dict[str, StoredObject | OSError] = {}  # URL → the object when this process last asked
_fetched: set[str] = set()  # URLs of files that were downloaded since then
_answered: Counter[str] = Counter()  # server → its answers so far
_lost: Counter[str] = Counter()  # server → calls without a usable answer
_downloads = tuple(threading.Lock() for _ in range(64))  # of a path: its copy is downloaded once


def is_audio_url(cell: str) -> bool:
    """Whether a cell of a table is a URL that can be read."""
    return bool(_URL.match(cell))


def url_fault(cell: str) -> str:
    """Why a URL of a known kind names no file that can be read; "" if it does. Has no secret in it."""
    try:
        parts = urlsplit(cell)
        _ = parts.port
    except ValueError:  # [::1 without its bracket, a port that is no number
        return f"a URL with a wrong host or port: {cell.partition('://')[0]}://…"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return f"a URL with credentials or parameters: {parts.scheme}://…; write it without"
    names = parts.path.split("/")[1:]
    if not parts.netloc or not names or any(name in ("", ".", "..") for name in names):
        return f"a URL that names no file: {cell}"
    return ""


def audio_path(url: str) -> str:
    """Where the local copy of a file at a URL is, or will be."""
    scheme, _, rest = url.partition("://")
    return f"{_root(scheme.lower(), os.fspath(mirrors_root()))}/{rest}"


def audio_url(path: Path | str) -> str | None:
    """The URL of which this path is the copy; None for every other file."""
    text = os.fspath(path)
    if _MARK not in text:
        return None
    root, _, rest = text.rpartition(_MARK)
    scheme, _, place = rest.partition("/")
    if scheme not in SCHEMES:
        return None
    _root(scheme, root)
    return f"{scheme}://{place}"


def place_of(path: Path | str) -> str:
    """A file as it is recorded for others: its URL, or its path as it is."""
    return audio_url(path) or os.fspath(path)


def ask(paths: Iterable[Path | str]) -> None:
    """Ask the services which version of each file there is now, many at a time; other files are skipped.

    Raises InputError where a service cannot be used or reached at all.
    """
    urls = {url: None for path in paths if (url := audio_url(path)) is not None}
    if urls:
        with ThreadPoolExecutor(2 * CONNECTIONS) as pool:
            for url, found in zip(urls, pool.map(_ask, urls), strict=True):
                _seen[url] = found
                _fetched.discard(url)
        for url in urls:
            if isinstance(lost := _seen[url], ConnectionError) and not _answered[_server(url)]:
                raise StoreError(str(lost.strerror), where=url, do="try again later")


def version_times(path: Path | str) -> tuple[int, int, int] | None:
    """What identifies the version of a file at a URL that was last asked for, like a file's size and times.

    None where the service says nothing that would change with the content. Raises OSError where there is
    none.
    """
    url = audio_url(path)
    found = None if url is None else _seen.get(url)
    if isinstance(found, OSError):
        raise found
    if found is None or not found.etag:
        return None
    return found.nbytes, int.from_bytes(hashlib.sha256(found.etag.encode()).digest()[:7]), -2


@contextmanager
def available(path: Path | str) -> Iterator[None]:
    """Make sure that the file is there while the block runs: the copy of a file at a URL is downloaded.

    Raises OSError where it cannot be, and InputError as `ask`.
    """
    url = audio_url(path)
    if url is None:
        yield
        return
    path = Path(path)
    with _downloads[hash(url) % len(_downloads)]:
        expected = _seen.get(url)
        if isinstance(expected, OSError):
            raise expected
        if expected is not None and url not in _fetched and not _is_copy(path, expected):
            path.unlink(missing_ok=True)
    with _copies(str(mirrors_root())).opened(path, lambda: _download(url, path), touch=False):
        yield


def _download(url: str, path: Path) -> None:
    with _downloads[hash(url) % len(_downloads)]:
        if path.exists():
            return
        before, now = _seen.get(url), _ask(url)
        if isinstance(now, OSError):
            raise now
        if isinstance(before, StoredObject) and _version(before) != _version(now):
            raise OSError(errno.ESTALE, "was changed during the run")
        _seen[url] = now
        if now.nbytes > (free := free_bytes(mirrors_root())):
            what = f"needs {format_bytes(now.nbytes)}, but {format_bytes(free)} are free for its local copy"
            do = f"free some space, or set {FOLDER_VARIABLE} to a folder on another disk"
            raise StoreError(what, where=url, do=do)

        def fault(copy: Path) -> str:
            size = copy.stat().st_size
            return "" if now.nbytes in (-1, size) else f"{size:,} of {now.nbytes:,} bytes"

        folder, _, name = url.rpartition("/")
        refused = _refused(url, lambda: ObjectFolder(folder).download(name, path, fault=fault))
        if isinstance(refused, OSError):
            raise refused
        _fetched.add(url)
        if now.etag:
            write_atomically(_version_file(path), _version(now))


def _ask(url: str) -> StoredObject | OSError:
    folder, _, name = url.rpartition("/")
    return _refused(url, lambda: ObjectFolder(folder).describe(name))


def _refused(url: str, call: Callable[[], T]) -> T | OSError:
    """The result, or the error of a file that fails alone; others end the run."""
    server = _server(url)
    result: T | OSError
    try:
        result = call()
    except AbsentError as error:
        result = FileNotFoundError(errno.ENOENT, error.what)
    except ForbiddenError as error:
        result = PermissionError(errno.EACCES, error.what)
    except DamagedError as error:
        result = OSError(errno.EIO, error.what)
    except TransferError as error:
        _lost[server] += 1
        if _lost[server] > max(MOST_LOST, MOST_LOST_SHARE * _answered[server]):
            raise
        return ConnectionError(errno.ECONNABORTED, error.what)
    _answered[server] += 1
    return result


def _server(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _version(of: StoredObject) -> str:
    return f"{of.nbytes} {of.etag}\n"


def _is_copy(path: Path, of: StoredObject) -> bool:
    """Whether a file is known to be a copy of this version."""
    try:
        return bool(of.etag) and _version_file(path).read_text(encoding="utf-8") == _version(of)
    except OSError:
        return False


def _version_file(path: Path) -> Path:
    return path.with_name(path.name + _VERSION)


@cache
def _root(scheme: str, root: str) -> str:
    """The folder of copies from URLs of a scheme; messages write it as the URL."""
    folder = f"{root}{_MARK}{scheme}"
    show_as(folder, f"{scheme}:/")
    return folder


@cache
def _copies(root: str) -> LocalCopies:
    return LocalCopies(Path(root))
