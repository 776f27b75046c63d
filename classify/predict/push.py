"""Upload a bundle to the Hugging Face hub, or to another hub that HF_ENDPOINT names."""

from __future__ import annotations

import re
from pathlib import Path

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.common.text import printable
from layerprobe.classify.runs.bundle_files import MANIFEST, read_bundle

REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
TOKEN_PAGE = "https://huggingface.co/settings/tokens"
ADVICE = {
    401: f"set HF_TOKEN to a valid token with permission to write: {TOKEN_PAGE}",
    403: f"use a token with permission to write to this repository: {TOKEN_PAGE}",
    404: "check the owner's name",
}


def push_bundle(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload the files of a bundle, in one commit, to a model repository, created if needed; its address.

    Only bundle.json and the files that it names are uploaded. The token is that of HF_TOKEN, or of
    `hf auth login`; it is in no message. private: of a new repository. Raises InputError for a bundle with a
    changed file, a bad name, a missing token, and a hub that refuses or cannot be reached.
    """
    if not REPOSITORY.fullmatch(repository):
        raise InputError(f"{repository!r} is no name of a repository", do="write OWNER/NAME")
    names = [MANIFEST, *read_bundle(folder)["files"]]
    from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import disable_progress_bars

    token = get_token()
    if token is None:
        do = f"set HF_TOKEN to a token with permission to write: {TOKEN_PAGE}"
        raise InputError("no access token for the hub", do=do)
    api = HfApi(token=token, library_name="layerprobe")
    disable_progress_bars()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(
            repository,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names],
            commit_message="Upload a bundle of layerprobe",
        )
    except HFValidationError as error:
        raise InputError(f"{repository!r} is no name of a repository", do="write OWNER/NAME") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = error.server_message or f"HTTP status {status}"
        what = f"refused the upload to {repository} ({printable(' '.join(str(why).split()))[:200]})"
        raise InputError(_without(token, what), where=api.endpoint, do=ADVICE.get(status, "")) from None
    except OfflineModeIsEnabled:
        raise InputError("HF_HUB_OFFLINE forbids connections", do="unset it to upload") from None
    except Exception as error:  # a network can fail in any way
        what = f"cannot be reached ({' '.join(str(error).split())[:200] or type(error).__name__})"
        do = "check the connection; nothing was uploaded"
        raise InputError(_without(token, what), where=constants.ENDPOINT, do=do) from None
    return f"{api.endpoint}/{repository}"


def _without(token: str, text: str) -> str:
    return text.replace(token, "***")
