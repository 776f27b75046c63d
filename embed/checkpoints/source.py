"""A model's configuration and weight files: which files are read, whether they are intact, their hashes."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import InputError, ModelError
from layerprobe.cache.identity.digests import DigestCache
from layerprobe.embed.checkpoints.configuration import fetch_again

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # the first that exists is read
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_LARGEST_HEADER = 100_000_000  # bytes; the limit of safetensors itself

# Settings of a transformers configuration that change no hidden state: provenance and training.
_NOT_ARCHITECTURE = frozenset(
    {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "id2label", "label2id"}
    | {"vocab_size", "apply_spec_augment", "gradient_checkpointing", "use_weighted_layer_sum", "model_name"}
)


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from and what it is.

    name: as the user wrote it. hub_id: None unless it came from the hub. revision: the hub commit, or "".
    folder: holds the configuration and the weights; None for random weights.
    config: transformers' configuration as a dict. normalise: whether the model expects unit-variance clips.
    """

    name: str
    hub_id: str | None
    revision: str
    folder: Path | None
    config: Mapping[str, Any]
    normalise: bool

    def architecture(self) -> str:
        """SHA-256 over the settings of the configuration that determine the hidden states."""
        settings = {k: self.config[k] for k in sorted(self.config) if k not in _NOT_ARCHITECTURE}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def weight_files(self) -> list[Path]:
        """Files with the tensors, safetensors preferred; empty for random weights.

        Raises ModelError if there are none, or if one is empty, cut short, or no weight file at all.
        """
        if self.folder is None:
            return []
        for name in WEIGHT_FILES:
            index = self.folder / f"{name}.index.json"
            if index.is_file():
                files = files_in_index(index)
            elif (self.folder / name).is_file():
                files = [self.folder / name]
            else:
                continue
            for file in files:
                _check_file(file)
            return files
        raise ModelError(
            f"no weights in {self.folder}", do=f"expected {' or '.join(WEIGHT_FILES)} next to config.json"
        )


def files_hash(source: ModelSource, cache: Path) -> str:
    """SHA-256 over the hashes of a model's weight files, independent of their folder's name.

    The files' hashes are remembered in `cache`. Raises InputError for a file that cannot be read, and
    ModelError for one whose content is not what the hub announced when it was downloaded.
    """
    files = source.weight_files()
    with DigestCache(cache) as digests:
        digest_of = digests.hash_files(files)
    total = hashlib.sha256()
    for path in files:
        digest = digest_of[path]
        if isinstance(digest, OSError):
            raise InputError(f"cannot read the weights ({digest.strerror})", where=str(path))
        # The hub's cache names the blob of a large file by the SHA-256 that the hub announced.
        blob = path.resolve()
        if blob.parent.name == "blobs" and len(blob.name) == len(digest) and blob.name != digest:
            what = f"the download is damaged: its SHA-256 begins with {digest[:8]}, not {blob.name[:8]}"
            raise ModelError(what, where=str(path), do=fetch_again(path))
        total.update(digest.encode())
    return total.hexdigest()


def tensors_hash(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over named torch tensors on the CPU: the identity of weights that were not read from files."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def files_in_index(index: Path) -> list[Path]:
    """The weight files that an index lists. Raises ModelError if it is unreadable or a file is missing."""
    files = [index.with_name(name) for name in shards(index)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        what = f"{len(missing)} weight files are missing, such as {missing[0]}"
        raise ModelError(what, where=str(index), do="its download or copy is incomplete")
    return files


def shards(index: Path) -> list[str]:
    """The names of the files that an index of sharded weights lists. Raises ModelError."""
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("it must name files next to it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"unreadable weight index ({error})"
        raise ModelError(what, where=str(index), do=fetch_again(index)) from error
    return names


def _check_file(file: Path) -> None:
    """Raise ModelError for a file that cannot hold weights, judged by its first bytes and its length."""
    size = file.stat().st_size
    try:
        with file.open("rb") as handle:
            start = handle.read(64)
            header = _safetensors_header(handle, size) if file.suffix == ".safetensors" else None
    except OSError as error:
        raise InputError(f"cannot read the weights ({error.strerror})", where=str(file)) from error
    if not size:
        raise ModelError("the file is empty", where=str(file), do=fetch_again(file))
    if start.startswith(b"version https://git-lfs"):
        what = "a Git LFS pointer, not the weights"
        raise ModelError(what, where=str(file), do="run `git lfs pull` in its folder, or download the file")
    if start.lstrip().startswith(b"<"):
        what = "a web page, not the weights"
        raise ModelError(what, where=str(file), do=fetch_again(file))
    if file.suffix != ".safetensors":
        return
    if header is None:
        raise ModelError(
            "cannot load the weights (no safetensors file)", where=str(file), do=fetch_again(file)
        )
    expected, types = header
    if size != expected:
        what = f"the file has {size:,} bytes, its header lists tensors up to byte {expected:,}"
        raise ModelError(what, where=str(file), do=fetch_again(file))
    if not types <= _FLOATS | {"I64"}:  # I64: counters and positions
        what = f"its tensors are {', '.join(sorted(types - _FLOATS))}: quantised weights are not supported"
        raise ModelError(what, where=str(file), do="take the checkpoint with float weights")


def _safetensors_header(handle: Any, size: int) -> tuple[int, set[str]] | None:
    """The length that a safetensors file must have, and the types of its tensors; None if it is no such
    file."""
    handle.seek(0)
    try:
        (length,) = struct.unpack("<Q", handle.read(8))
        if length > min(size, _LARGEST_HEADER):
            return None
        tensors = [entry for name, entry in json.loads(handle.read(length)).items() if name != "__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
        return 8 + length + end, {str(entry["dtype"]) for entry in tensors}
    except (struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
