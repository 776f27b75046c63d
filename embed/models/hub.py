"""Download a hub model's files into a local snapshot; earlier downloads are used without a network."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from layerprobe.cache.common.errors import ModelError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # the first that exists is read


def fetch_snapshot(
    hub_id: str, *, revision: str | None, offline: bool = False, weights: bool = True
) -> tuple[Path, str]:
    """The local folder with a hub model's configuration (and weights), and its commit.

    offline: use only earlier downloads. Raises ModelError if the files cannot be obtained.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # our one-line error reports a failed attempt
    where = f"{hub_id}@{revision}" if revision else hub_id
    snapshot = partial(_snapshot, hub_id, revision=revision, weights=weights)
    try:
        folder = snapshot(offline=offline)
    except GatedRepoError as error:
        what = f"{where} requires its terms to be accepted"
        raise ModelError(what, do="accept them on its page") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        do = "check the spelling; a private model needs a token"
        raise ModelError(f"the hub has no {where}, and there is no such folder here", do=do) from error
    except Exception as error:  # a network can fail in any way; an earlier download may still do
        try:
            folder = snapshot(offline=True)
        except Exception:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            why = lines[0].partition(". ")[0].rstrip(".")
            raise ModelError(
                f"cannot fetch {where} from the hub, and there is no such folder here ({why})",
                do="check the network, or give a local folder with config.json and model.safetensors",
            ) from error
    return folder, folder.name


def _snapshot(hub_id: str, *, revision: str | None, weights: bool, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RemoteEntryNotFoundError

    # Online, a file counts as absent only if the hub itself says so: if a network failure counted as well,
    # clips would silently be normalised differently. Offline, an earlier run downloaded all there was.
    absent = EntryNotFoundError if offline else RemoteEntryNotFoundError

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(hub_id, name, revision=revision, local_files_only=offline))

    def exists(name: str) -> bool:
        try:
            fetch(name)
        except absent:
            return False
        return True

    config = fetch("config.json")
    exists("preprocessor_config.json")
    for name in WEIGHT_FILES if weights else ():
        if exists(f"{name}.index.json"):
            index = json.loads(fetch(f"{name}.index.json").read_text())
            for shard in sorted(set(index["weight_map"].values())):
                fetch(shard)
            break
        if exists(name):
            break
    return config.parent
