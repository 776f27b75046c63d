"""A cache on object storage, and the local folder that stands for it.

The folder is a mirror: it has the structure of the cache, with copies of what was read. It is a `Path` like
that of any cache, so nothing above the store needs to know where the states are; messages show the URL.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import lru_cache
from pathlib import Path

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError, StoreError
from layerprobe.cache.common.text import show_as, shown

SCHEMES = ("s3", "gs", "az")
FOLDER_VARIABLE, SIZE_VARIABLE = "LAYERPROBE_MIRROR", "LAYERPROBE_MIRROR_SIZE"
DEFAULT_SIZE = "50GB"
RECORD = "remote.json"  # in the mirror of a cache: its URL
# `Path` makes one slash of two.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])", re.IGNORECASE)
_NO_BUCKET = re.compile(rf"({'|'.join(SCHEMES)}):/*", re.IGNORECASE)  # `s3://$BUCKET` without BUCKET
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # such as a line break that was pasted
# Servers that hold other objects under the same URL.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL", "STORAGE_EMULATOR_HOST")


def is_url(place: Path | str) -> bool:
    """Whether this is a URL, also as `Path` writes it (`s3:/bucket`)."""
    return bool(_URL.match(str(place)) or _NO_BUCKET.fullmatch(str(place)))


def refuse_url(place: str, *, option: str) -> None:
    """Raise InputError for a URL where a path is expected: `Path` would make a folder `s3:` of it."""
    if is_url(place):
        where = f"{option} {place}".strip()
        raise InputError("a URL cannot be used here", where=where, do="give a path on this machine")


def mirrors_root() -> Path:
    """The folder of all local copies: LAYERPROBE_MIRROR, else a folder in the user's cache folder."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "layerprobe" / "remote"


def size_limit() -> int:
    """Bytes of local copies of objects: LAYERPROBE_MIRROR_SIZE. Raises InputError."""
    from layerprobe.cache.common.options import parse_bytes  # imports the command line's library

    return parse_bytes(os.environ.get(SIZE_VARIABLE) or DEFAULT_SIZE, option=SIZE_VARIABLE)


def parse_url(place: Path | str) -> str:
    """`scheme://bucket/prefix` without a slash at its end. Raises InputError for what no cache can be on."""
    text = str(place)
    if found := _NO_BUCKET.fullmatch(text):
        text = f"{found[1]}://"
    scheme, _, rest = _URL.sub(r"\1://", text).partition("://")
    if scheme.lower() not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InputError("a cache cannot be on a URL of this kind", where=scheme + "://…", do=f"use {known}")
    rest = rest.rstrip("/")
    if "@" in rest.partition("/")[0] or "?" in rest or "#" in rest:
        what = "a URL with credentials or parameters in it"
        do = "give scheme://bucket/prefix; the service's own tools say where credentials belong"
        raise InputError(what, where=f"{scheme}://…", do=do)
    if any(part in ("", ".", "..") for part in rest.split("/")) or _CONTROL.search(rest):
        raise InputError("names no place in a bucket", where=text, do="write it as s3://bucket/prefix")
    return f"{scheme.lower()}://{rest}"


def local_cache(place: Path | str) -> Path:
    """The local folder of a cache: of a URL, its mirror, which is created; of a folder, itself.

    Opens no connection. Raises InputError for a URL that cannot be used, StoreError where the mirror cannot
    be created.
    """
    if not is_url(place):
        return Path(place)
    url = parse_url(place)
    size_limit()  # a wrong one is reported now, not at the first download
    server = "|".join(os.environ.get(name, "") for name in _ENDPOINTS)
    digest = hashlib.sha256(f"{url}|{server.strip('|')}".encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9._]+", "-", url.replace("://", "-"))[:60]
    folder = mirrors_root() / "caches" / f"{name}-{digest}"
    try:
        if not (folder / RECORD).exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / RECORD, json.dumps({"url": url}) + "\n")
    except OSError as error:
        what = f"no local copies can be made there ({error.strerror})"
        raise StoreError(
            what, where=str(mirrors_root()), do=f"set {FOLDER_VARIABLE} to another folder"
        ) from error
    show_as(folder, url)
    return folder


def local_store(place: Path | str) -> Path:
    """The same of a store, CACHE/MODEL-SLUG/FINGERPRINT, in a cache."""
    if not is_url(place):
        return Path(place)
    cache, *names = parse_url(place).rsplit("/", 2)
    return local_cache(cache).joinpath(*names)


def portable(store: Path) -> str:
    """A store as another process finds it again: by its URL, else by its absolute path."""
    return str(store.resolve()) if remote_url(store.parent.parent) is None else shown(str(store))


def remote_url(cache: Path) -> str | None:
    """The URL that a folder is the mirror of; None for a cache that is a local folder."""
    return _recorded(cache) if (cache / RECORD).exists() else None


@lru_cache
def _recorded(cache: Path) -> str:
    record = cache / RECORD
    try:
        url = parse_url(json.loads(record.read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"does not say which cache this is a mirror of ({error})", where=str(record)
        ) from error
    show_as(cache, url)
    return url


def outgoing(folder: Path) -> Path:
    """Where the store of this mirror keeps what is not uploaded yet; it is never deleted before that."""
    cache = folder.parent.parent
    return cache.parent.parent / "outgoing" / cache.name / folder.parent.name / folder.name
