"""Files of a hub model → a local snapshot folder; what was downloaded before serves without a network."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from layerprobe.cache.common.errors import ModelError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read


def fetch_snapshot(
    hub_id: str, *, revision: str | None, offline: bool = False, weights: bool = True
) -> tuple[Path, str]:
    """The local folder with a hub model's configuration (and weights), and the commit it stands for.

    offline: only look at what was downloaded before. Raises ModelError, saying why it cannot be had.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # our one line tells of a failed try
    where = f"{hub_id}@{revision}" if revision else hub_id
    snapshot = partial(_snapshot, hub_id, revision=revision, weights=weights)
    try:
        folder = snapshot(offline=offline)
    except GatedRepoError as error:
        raise ModelError(
            f"{where} asks for its terms to be accepted", do="accept them on its page"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        do = "check the spelling; a private model needs a token"
        raise ModelError(f"the hub has no {where}, and there is no such folder here", do=do) from error
    except Exception as error:  # a network can fail in every way; what is here may still serve
        try:
            folder = snapshot(offline=True)
        except Exception:
            told = str(error).strip().splitlines() or [type(error).__name__]
            why = told[0].partition(". ")[0].rstrip(".")
            raise ModelError(
                f"cannot fetch {where} from the hub, and there is no such folder here ({why})",
                do="check the network, or give a local folder with config.json and model.safetensors",
            ) from error
    return folder, folder.name


def _snapshot(hub_id: str, *, revision: str | None, weights: bool, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RemoteEntryNotFoundError

    # Online, only the hub's own word that a file does not exist counts: were a network's hiccup taken for it,
    # clips would silently be normalised in another way. Offline, an earlier visit fetched what there was.
    absent = EntryNotFoundError if offline else RemoteEntryNotFoundError

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(hub_id, name, revision=revision, local_files_only=offline))

    def has(name: str) -> bool:
        try:
            fetch(name)
        except absent:
            return False
        return True

    config = fetch("config.json")
    has("preprocessor_config.json")
    for name in WEIGHT_FILES if weights else ():
        if has(f"{name}.index.json"):
            index = json.loads(fetch(f"{name}.index.json").read_text())
            for shard in sorted(set(index["weight_map"].values())):
                fetch(shard)
            break
        if has(name):
            break
    return config.parent
