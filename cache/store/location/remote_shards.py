"""Shards on object storage: written here and uploaded whole, downloaded when they are opened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import ForbiddenError, InputError, StoreError
from layerprobe.cache.common.places import local_store, outgoing, portable, size_limit
from layerprobe.cache.common.text import format_count
from layerprobe.cache.remote.objects import CONNECTIONS, StoredObject
from layerprobe.cache.remote.retries import AbsentError, TransferError
from layerprobe.cache.store.index import Opened, Shards, ShardStatus
from layerprobe.cache.store.location import records
from layerprobe.cache.store.location.read_ahead import SHARE, ReadAhead
from layerprobe.cache.store.location.remote_cache import RemoteCache, remote_cache
from layerprobe.cache.store.location.tables import table_name, write_table
from layerprobe.cache.store.shard import SHARD_NAME, checksum, list_shards, read_digests


class RemoteShards(Shards):
    """The shards of a store on object storage, in the folder of its mirror.

    A writer puts shards into a folder beside the mirror; each stays there until it is uploaded. May be
    pickled, as a store.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        super().__init__(folder, fingerprint)
        self._not_uploaded: frozenset[str] = frozenset()  # when last looked
        self._uploaded = 0  # shards, by this object
        self._failure: InputError | None = None  # of the last upload

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "folder": portable(self.folder)}  # another machine has other folders

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.folder = local_store(str(state["folder"]))

    @property
    def written(self) -> Path:
        folder = outgoing(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def names(self) -> frozenset[str]:
        listed = self._listed()
        waiting = self._waiting()
        if self._not_uploaded - waiting - listed.keys():  # another process has uploaded some
            listed = self._listed(fresh=True)
        self._not_uploaded = waiting
        return waiting | listed.keys()

    def prepare(self, names: Collection[str]) -> None:
        """Download the tables of many shards at a time."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(self._fetch_table, names):
                pass

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        waiting = self.written / name
        if waiting.exists():
            yield waiting
            return
        with self._cache.copies.opened(self.folder / name, lambda: self.download(name)) as path:
            yield path

    @contextmanager
    def in_order(self, names: Sequence[str]) -> Iterator[Opened]:
        absent = [name for name in names if not self._is_here(name)]
        if len(absent) < 2:
            yield self.opened
            return
        listed = self._listed()
        sizes = [listed[name].nbytes if name in listed else 0 for name in absent]
        with ReadAhead(absent, self._fetch, sizes=sizes, limit=size_limit() // SHARE) as ahead:

            @contextmanager
            def opened(name: str) -> Iterator[Path]:
                if name in absent:
                    ahead.wait(name)
                with self.opened(name) as path:
                    yield path

            yield opened

    @contextmanager
    def table(self, name: str) -> Iterator[Path]:
        self._fetch_table(name)
        path = self.folder / table_name(name)
        if path.exists():
            yield path
        else:  # a shard that another program copied there
            with self.opened(name) as shard:
                yield shard

    def status(self, names: Iterable[str]) -> dict[str, ShardStatus]:
        found = {name: ShardStatus(one.nbytes, one.modified) for name, one in self._listed().items()}
        for name in self._waiting():
            with suppress(FileNotFoundError):
                stat = (self.written / name).stat()
                found[name] = ShardStatus(stat.st_size, stat.st_mtime)
        return {name: found[name] for name in names if name in found}

    def renew(self, name: str) -> None:
        if name not in self._waiting():
            (self.folder / name).unlink(missing_ok=True)
            self.download(name)

    def forget(self) -> None:
        self._cache.forget()

    def disk_bytes(self, nbytes: int) -> int:
        return min(nbytes, size_limit())

    def download(self, name: str) -> None:
        """Make the local copy of a shard, checked against its name.

        Raises FileNotFoundError where it was deleted, StoreError where it is damaged or cannot be read.
        """

        def fault(path: Path) -> str:
            named, actual = name.removeprefix("shard-").removesuffix(".h5"), checksum(path)
            return "" if named == actual else f"its bytes have the checksum {actual}, its name says {named}"

        try:
            self._cache.objects.download(self._name(name), self.folder / name, fault=fault)
        except AbsentError as error:
            raise FileNotFoundError(str(error)) from error

    def publish(self, shard: Path) -> None:
        """Upload a shard that was just written. One that cannot be uploaded now waits for `complete`.

        Raises StoreError and InputError where this process may not write there at all.
        """
        try:
            self._upload(shard.name, attempts=None if self._failure is None else 1)
            self._failure = None
        except InputError as error:
            refused = isinstance(error, ForbiddenError | AbsentError) or not isinstance(error, StoreError)
            if refused and not self._uploaded:
                raise
            if self._failure is None:
                say(f"note: {error.what}; the states are saved on this machine and uploaded later")
            self._failure = error

    def complete(self) -> None:
        """Upload every shard that waits, also of earlier runs.

        Raises StoreError that says how many could not be uploaded.
        """
        for name in sorted(self._waiting()):
            try:
                self._upload(name)
            except InputError as error:
                shards = format_count(len(self._waiting()), "shard")
                what = f"{shards} could not be uploaded ({error.what})"
                do = f"run again, which uploads them; until then they are in {self.written}"
                raise StoreError(what, where=str(self.folder), do=do) from error

    def share_records(self) -> None:
        records.share(self.folder, self._cache)

    @property
    def _cache(self) -> RemoteCache:
        return remote_cache(self.folder.parent.parent)

    def _is_here(self, name: str) -> bool:
        return (self.folder / name).exists() or (self.written / name).exists()

    def _fetch(self, name: str) -> None:
        """Make the local copy of a shard. Raises as `download`."""
        with self.opened(name):
            pass

    def _name(self, name: str) -> str:
        """An object's name in the cache, from that in the store."""
        return f"{self.folder.parent.name}/{self.folder.name}/{name}"

    def _listed(self, *, fresh: bool = False) -> dict[str, StoredObject]:
        """Shards on object storage by name."""
        start = self._name("")
        objects = self._cache.listing(fresh=fresh).items()
        names = ((name.removeprefix(start), one) for name, one in objects if name.startswith(start))
        return {name: one for name, one in names if SHARD_NAME.fullmatch(name)}

    def _waiting(self) -> frozenset[str]:
        """Shards that are not uploaded yet."""
        return list_shards(self.written)

    def _fetch_table(self, name: str) -> None:
        """Make the local copy of a shard's table, if there is an object of it."""
        path = self.folder / table_name(name)
        if path.exists():
            return
        waiting = self.written / name
        with suppress(FileNotFoundError, AbsentError):
            if waiting.exists():
                write_table(waiting, path, fingerprint=self.fingerprint)
            elif self._name(table_name(name)) in self._cache.listing():
                self._cache.objects.download(self._name(table_name(name)), path, fault=self._table_fault)

    def _table_fault(self, table: Path) -> str:
        try:
            read_digests(table, self.fingerprint)
        except StoreError as error:
            return error.what
        return ""

    def _upload(self, name: str, *, attempts: int | None = None) -> None:
        """Upload a shard and its table; a shard that is listed has its table."""
        shard, table = self.written / name, self.folder / table_name(name)
        try:
            if not table.exists():
                write_table(shard, table, fingerprint=self.fingerprint)
            self._cache.upload(table, self._name(table_name(name)), attempts=attempts)
            self._cache.upload(shard, self._name(name), attempts=attempts)
            shard.replace(self.folder / name)
        except (FileNotFoundError, AbsentError):
            if shard.exists():
                raise
            return  # another process has uploaded it
        except OSError as error:
            what = f"cannot be uploaded ({error.strerror or error})"
            raise TransferError(what, where=str(shard), do="run again") from error
        self._uploaded += 1
        self._cache.copies.add(self.folder / name)
