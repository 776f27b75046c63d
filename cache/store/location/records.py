"""Failures, costs and hashes of files: what a run adds to them becomes an object that never changes.

A machine merges the objects of others into its own files, each once. So a table of clips is understood where
the audio is not, and a clip that failed elsewhere is known to have failed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import StoreError
from layerprobe.cache.identity.digests import DigestCache
from layerprobe.cache.remote.objects import CONNECTIONS, ObjectFolder, StoredObject
from layerprobe.cache.store import costs, failures

if TYPE_CHECKING:
    from layerprobe.cache.store.location.remote_cache import RemoteCache

FOLDER = "records"  # in the cache (hashes of files) and in each store (failures, costs)
DIGESTS = "digests"
_OBJECT = re.compile(rf"(?:[^/]+/[0-9a-f]{{16}}/)?{FOLDER}/(digests|failures|costs)-[0-9a-f]{{32}}\.jsonl")
_DIGEST = re.compile(r"[0-9a-f]{64}")

Rows = list[list[str]]


def fetch(cache: Path, objects: ObjectFolder, listing: Mapping[str, StoredObject]) -> None:
    """Merge the objects that this machine has not merged yet. Raises StoreError for a damaged one."""
    new = [name for name in listing if _OBJECT.fullmatch(name) and not (cache / name).exists()]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for name, content in zip(new, pool.map(objects.read, new), strict=True):
            path = cache / name
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = path.name.partition("-")[0]
            where = f"{objects.url}/{name}"
            try:
                _MERGE[kind](path.parent.parent, _parse(content, where=where))
            except ValueError as error:
                raise StoreError(f"not a record of a run ({error})", where=where, do="delete it") from error
            write_atomically(path, content)  # last: a row that is merged twice does no harm


def share(store: Path, cache: RemoteCache) -> None:
    """Upload what this machine knows and no object has yet. Raises StoreError."""
    for folder, kind in ((cache.folder, DIGESTS), (store, "failures"), (store, "costs")):
        known = {
            tuple(row)
            for path in (folder / FOLDER).glob(f"{kind}-*.jsonl")
            for row in _parse(path.read_bytes(), where=str(path))
        }
        rows = [row for row in _READ[kind](folder) if tuple(row) not in known]
        if not rows:
            continue
        content = "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
        path = folder / FOLDER / f"{kind}-{hashlib.sha256(content).hexdigest()[:32]}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        try:
            cache.upload(path, path.relative_to(cache.folder).as_posix())
        except StoreError:
            path.unlink()  # the next run shares it
            raise


def _parse(content: bytes, *, where: str) -> Rows:
    """Rows of text from lines of JSON."""
    try:
        rows = [json.loads(line) for line in content.decode("ascii").splitlines()]
        if not all(isinstance(row, list) and all(isinstance(cell, str) for cell in row) for row in rows):
            raise ValueError("a line is no list of texts")
    except (ValueError, RecursionError) as error:
        raise StoreError(f"not a record of a run ({error})", where=where, do="delete it") from error
    return rows


def _digests(cache: Path) -> Rows:
    with DigestCache(cache) as digests:
        return [[path, digest] for path, digest in digests.all_known()]


def _merge_digests(cache: Path, rows: Rows) -> None:
    if not all(_DIGEST.fullmatch(digest) for _, digest in rows):
        raise ValueError("a hash is no SHA-256")
    with DigestCache(cache) as digests:
        digests.remember((path, digest) for path, digest in rows)


def _failures(store: Path) -> Rows:
    return [
        [path, "" if start is None else repr(start), "" if end is None else repr(end), one.reason, one.key]
        for (path, start, end), one in failures.read(store).items()
    ]


def _merge_failures(store: Path, rows: Rows) -> None:
    def seconds(text: str) -> float | None:
        return float(text) if text else None

    known = failures.read(store)
    found = {
        (path, seconds(start), seconds(end)): failures.Failure(reason, key)
        for path, start, end, reason, key in rows
    }
    failures.update(store, failed={id: one for id, one in found.items() if id not in known}, succeeded=[])


def _costs(store: Path) -> Rows:
    return costs.as_rows(costs.read(store))


def _merge_costs(store: Path, rows: Rows) -> None:
    known = _costs(store)
    for run in costs.from_rows(row for row in rows if row not in known):
        costs.append(store, run)


_READ: dict[str, Callable[[Path], Iterable[list[str]]]] = {
    DIGESTS: _digests,
    "failures": _failures,
    "costs": _costs,
}
_MERGE: dict[str, Callable[[Path, Rows], None]] = {
    DIGESTS: _merge_digests,
    "failures": _merge_failures,
    "costs": _merge_costs,
}
