"""The folders of a cache's stores: found, created, opened; a cache may be a mirror of object storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.errors import InputError, StoreError
from layerprobe.cache.common.places import local_cache, local_store, remote_url
from layerprobe.cache.identity.extraction import Extraction, model_slug
from layerprobe.cache.store.background_writer import write_error
from layerprobe.cache.store.index import Shards

EXTRACTION_FILE = "extraction.json"


def up_to_date(cache: Path | str) -> Path:
    """The folder of a cache; a mirror has the record of every store that there is now. Raises StoreError."""
    folder = local_cache(cache)
    if remote_url(folder) is not None:
        from layerprobe.cache.store.location.remote_cache import remote_cache

        remote_cache(folder).refresh()
    return folder


def find_folders(cache: Path | str, fingerprint: str = "*") -> list[Path]:
    """The folders with a record of that fingerprint, under any model name."""
    records = up_to_date(cache).glob(f"*/{fingerprint}/{EXTRACTION_FILE}")
    return sorted(record.parent for record in records)


def present_folder(store: Path | str) -> Path:
    """The folder of a store; one that is missing in a mirror is looked for on object storage."""
    folder = local_store(store)
    cache = folder.parent.parent
    if remote_url(cache) is not None and not (folder / EXTRACTION_FILE).exists():
        up_to_date(cache)
    return folder


def open_shards(folder: Path, fingerprint: str) -> Shards:
    """The shards of a store."""
    if remote_url(folder.parent.parent) is None:
        return Shards(folder, fingerprint)
    from layerprobe.cache.store.location.remote_shards import RemoteShards

    return RemoteShards(folder, fingerprint)


def create_folder(cache: Path | str, extraction: Extraction) -> Path:
    """The folder of a new store, with its record. Raises StoreError."""
    cache = local_cache(cache)
    folders = sorted(cache.glob(f"*/{extraction.fingerprint()}"))
    folder = folders[0] if folders else cache / model_slug(extraction.model) / extraction.fingerprint()
    record = extraction.to_json()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if remote_url(cache) is not None:
            from layerprobe.cache.store.location.remote_cache import remote_cache

            record = remote_cache(cache).put_record(folder / EXTRACTION_FILE, record)
        write_atomically(folder / EXTRACTION_FILE, record)
    except OSError as error:
        raise write_error(cache, error) from error
    return folder


@contextmanager
def shared(shards: Shards) -> Iterator[None]:
    """Upload to a store on object storage what earlier runs could not, and at the end this one's records.

    Does nothing for a folder. Raises StoreError.
    """
    shards.complete()
    try:
        yield
    except BaseException:
        with suppress(InputError):
            shards.share_records()
        raise
    shards.share_records()


def refuse_remote(cache: Path, what: str) -> None:
    """Raise StoreError for a cache on object storage, where `what` would need locks."""
    if remote_url(cache) is None:
        return
    reason = "object storage has no locks, and other machines may read or write it meanwhile"
    do = "copy it to a folder with the service's own tool, do it there, and upload that under a new prefix"
    raise StoreError(f"cannot be {what}: {reason}", where=str(cache), do=do)
