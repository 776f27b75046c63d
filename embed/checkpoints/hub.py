"""Download a hub model's files into a local snapshot; earlier downloads are used without a network."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

from layerprobe.cache.common.console import say
from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.configuration import CONFIG, PREPROCESSOR, PROCESSOR
from layerprobe.embed.checkpoints.source import WEIGHT_FILES, files_in_index, shards

# Seconds to wait for the hub's first answer: with an earlier download at hand, a dead network costs no more.
PATIENCE_CACHED, PATIENCE = 2.0, 10.0
MAX_RESTARTS = 5  # of one file's transfer from its first byte
_NO_FOLDER = ", and there is no such folder here"


class InterruptedTransferError(OSError):
    """A transfer that is cut off again and again, at no progress."""


def fetch_snapshot(
    hub_id: str, *, revision: str | None, offline: bool = False, weights: bool = True
) -> tuple[Path, str]:
    """The local folder with a hub model's configuration (and weights), and its commit.

    offline: use only earlier downloads, as does the variable HF_HUB_OFFLINE. If the hub cannot be reached, an
    earlier complete download is used, and a line says so. Raises ModelError if the files cannot be obtained.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # our one-line error reports a failed attempt
    where = f"{hub_id}@{revision}" if revision else hub_id
    earlier = _earlier_download(hub_id, revision, weights=weights)
    if offline or constants.is_offline_mode():
        if earlier is None:
            what = f"no complete download of {where} on this machine{_NO_FOLDER}"
            unset = "unset HF_HUB_OFFLINE" if constants.is_offline_mode() else "connect to a network"
            raise ModelError(what, do=f"{unset}, or run `hf download {hub_id}` where there is one")
        return earlier, earlier.name
    if earlier is not None and revision == earlier.name:  # a commit never changes
        return earlier, earlier.name
    try:
        commit = _ask_commit(hub_id, revision, patience=PATIENCE if earlier is None else PATIENCE_CACHED)
        folder = _download(hub_id, revision, commit, weights=weights)
    except Exception as error:  # a network can fail in any way
        what, do = _explain(error, hub_id, where)
        if earlier is None:
            raise ModelError(what, do=do) from error
        why = what.replace(_NO_FOLDER, "")
        say(f"note: {why}; using the earlier download of {where}, commit {earlier.name[:8]}")
        return earlier, earlier.name
    return folder, folder.name


def _earlier_download(hub_id: str, revision: str | None, *, weights: bool) -> Path | None:
    """The folder of a complete earlier download, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(hub_id, CONFIG, revision=revision)
    except (HFValidationError, OSError, ValueError):
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    if not weights:
        return folder
    for name in WEIGHT_FILES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                files_in_index(index)
            except ModelError:
                return None
            return folder
        if (folder / name).is_file():
            return folder
    return None


def _ask_commit(hub_id: str, revision: str | None, *, patience: float) -> str:
    """The commit of a revision, asked from the hub within `patience` seconds. Raises any error."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    result: list[str | Exception | None] = []

    def ask() -> None:
        try:
            url = hf_hub_url(hub_id, CONFIG, revision=revision)
            result.append(get_hf_file_metadata(url, timeout=patience).commit_hash)
        except Exception as error:
            result.append(error)

    # A thread of its own, because looking up the hub's address obeys no time limit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    if not result:
        raise TimeoutError(f"no answer within {patience:g} s")
    commit = result[0]
    if isinstance(commit, Exception):
        raise commit
    if commit is None:
        raise OSError("the answer came from something else than a hub: a proxy, or a page to log in")
    return commit


def _download(hub_id: str, revision: str | None, commit: str, *, weights: bool) -> Path:
    """Fetch the files of a commit that are not here yet. Raises any error."""
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def fetch(name: str) -> bool:
        """Whether the commit has this file, which is then here."""
        cached = try_to_load_from_cache(hub_id, name, revision=commit)
        if cached is _CACHED_NO_EXIST:
            return False
        # Absent only if the hub itself says so: a network failure must not change how clips are prepared.
        try:
            download(name)
        except RemoteEntryNotFoundError:
            return False
        return True

    def download(name: str, revision: str | None = commit) -> Path:
        return Path(hf_hub_download(hub_id, name, revision=revision, tqdm_class=_progress_bar()))

    folder = download(CONFIG).parent
    for name in (PREPROCESSOR, PROCESSOR):
        fetch(name)
    for name in WEIGHT_FILES if weights else ():
        if fetch(f"{name}.index.json"):
            for shard in shards(folder / f"{name}.index.json"):
                download(shard)
            break
        if fetch(name):
            break
    # Last, and by the revision's name: from now on that name means this complete download, offline too.
    return download(CONFIG, revision).parent


@cache
def _progress_bar() -> Any:
    """The class of progress bars that give up a transfer which keeps starting over.

    huggingface_hub resumes a transfer that was cut off, as long as any bytes arrive. From a server that
    ignores the requested range, through a proxy that cuts each transfer, it would fetch the same bytes for
    ever.
    """
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        restarts = 0

        def update(self, n: float | None = 1) -> bool | None:
            """n: bytes that have arrived; negative where the transfer begins again without them."""
            if n is not None and n < 0:
                self.restarts += 1
                if self.restarts > MAX_RESTARTS:
                    raise InterruptedTransferError(f"{self.restarts} times, each time from its first byte")
            return super().update(n)

    return Bar


def _explain(error: Exception, hub_id: str, where: str) -> tuple[str, str]:
    """What went wrong with the hub, and what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{hub_id}"
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, ModelError):
        return error.line(), "delete it and run this again"
    if isinstance(error, GatedRepoError):
        do = f"accept them on {page}, then run `hf auth login`"
        return f"{where} requires its terms to be accepted", do
    if isinstance(error, RevisionNotFoundError):
        return f"the hub has {hub_id}, but no revision {where.partition('@')[2] or 'main'}", f"see {page}"
    if isinstance(error, RepositoryNotFoundError):
        what = f"the hub has no {where}{_NO_FOLDER}"
        return what, "check the spelling; a private model needs a token (`hf auth login`)"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"{where} has no {CONFIG}", "take a checkpoint that transformers can load"
    if isinstance(error, DisabledRepoError):
        return f"the hub has disabled {where}", f"see {page}"
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error.response, where)
    if isinstance(error, InterruptedTransferError | RecursionError):
        often = "again and again" if isinstance(error, RecursionError) else str(error)
        what = f"the download of {where} was cut off {often}, as by a proxy with a limit of size or time"
        return what, f"fetch it elsewhere with `hf download {hub_id}`, or give a local folder"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    why = lines[0].partition(". ")[0].rstrip(".")
    if "Consistency check failed" in why:
        what = f"the download of {where} was cut short ({why.partition(': ')[2] or why})"
        return what, "run this again: files that are complete are not fetched again"
    return (
        f"cannot fetch {where} from the hub{_NO_FOLDER} ({why})",
        "check the network, or give a local folder with config.json and model.safetensors"
        " (mfcc and random:NAME need no network, nor does whisper-tiny.en with the extra offline-model)",
    )


def _explain_status(response: object, where: str) -> tuple[str, str]:
    status = getattr(response, "status_code", 0)
    headers = getattr(response, "headers", {})
    what = f"cannot fetch {where}: the hub answers HTTP {status}"
    if status == 429:
        after = headers.get("Retry-After", "")
        wait = f"wait {after} s" if str(after).isdecimal() else "wait a few minutes"
        return f"{what} (too many requests)", f"{wait}, or log in with `hf auth login` for a higher limit"
    if status >= 500:
        return f"{what} (a fault of the server)", "try again later"
    if status in (401, 403):
        return what, "check your token with `hf auth whoami`, and that it may read this model"
    return (
        f"{what} without the hub's own reason, as a proxy or mirror does",
        "check HF_ENDPOINT and your proxy",
    )
