"""Settings of a run → its backbone on its device, and the `Extraction` that names what comes out."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from layerprobe.cache.common.errors import InputError
from layerprobe.cache.identity.digests import Digests
from layerprobe.cache.identity.extraction import FRAME, Extraction
from layerprobe.embed.config import RATE, EmbedConfig
from layerprobe.embed.models.acoustic import ACOUSTIC, AcousticBackbone
from layerprobe.embed.models.allocator import keep_freed_memory
from layerprobe.embed.models.backbones import Backbone, TransformerBackbone
from layerprobe.embed.models.layers import CNN, layer_names, parse_layers
from layerprobe.embed.models.sources import ModelSource, canonical_name, find_model


def open_backbone(config: EmbedConfig) -> tuple[Backbone, Extraction]:
    """The model that a run asks for, ready on its device. Raises InputError for what cannot be done."""
    device = find_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    precision = find_precision(config.precision, device)
    if config.model in ACOUSTIC:
        return _open_acoustic(config)
    source = find_model(config.model, revision=config.revision)
    layers = parse_layers(config.layers, layer_names(source.config), also=(CNN,))
    backbone = TransformerBackbone(
        source, layers=layers, device=device, precision=precision, seed=config.seed
    )
    weights = backbone.weights or files_hash(source, config.cache)
    extraction = _extraction(
        config,
        backbone,
        revision=source.revision,
        weights=weights,
        architecture=source.architecture(),
        precision=precision,
    )
    return backbone, extraction


def _open_acoustic(config: EmbedConfig) -> tuple[Backbone, Extraction]:
    """Acoustic features run on the CPU in fp32 whatever the model settings say."""
    settings = ACOUSTIC[config.model]
    backbone = AcousticBackbone(settings)
    parse_layers(config.layers, backbone.layers)
    extraction = _extraction(
        config,
        backbone,
        revision="",
        weights="none",
        architecture=settings.architecture(),
        precision="fp32",
    )
    return backbone, extraction


def _extraction(
    config: EmbedConfig,
    backbone: Backbone,
    *,
    revision: str,
    weights: str,
    architecture: str,
    precision: str,
) -> Extraction:
    notes = {"seed": config.seed, "device": describe_device(backbone.device), "versions": versions()}
    return Extraction(
        model=canonical_name(config.model),
        revision=revision,
        weights=weights,
        architecture=architecture,
        normalise=backbone.normalise,
        layers=backbone.layers,
        widths=backbone.widths,
        stats=(FRAME,) if config.frames else config.stats,
        dtype=config.dtype,
        precision=precision,
        window=config.window,
        rate=RATE,
        frame_rate=backbone.frame_rate,
        receptive_field=backbone.receptive_field,
        notes=notes,
    )


def files_hash(source: ModelSource, cache: Path) -> str:
    """SHA-256 over the hashes of the files that hold a model's tensors, whatever their folder is called."""
    files = source.weight_files()
    with Digests(cache) as digests:
        known = digests.of(files)
    total = hashlib.sha256()
    for path in files:
        digest = known[path]
        if isinstance(digest, OSError):
            raise InputError(f"cannot read the weights ({digest.strerror})", where=str(path))
        total.update(digest.encode())
    return total.hexdigest()


def find_device(name: str) -> torch.device:
    """`auto` is the first GPU, else the CPU. Raises InputError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta` is a device to torch, but holds no numbers
    except (RuntimeError, AssertionError) as error:  # torch asserts when it was built without a backend
        why = re.split(r"[.\n]", str(error).strip())[0]
        raise InputError(f"--device {name} cannot be used ({why})", do="try --device auto or cpu") from error
    return device


def find_precision(name: str, device: torch.device) -> str:
    """`auto` is fp32 on a CPU, bf16 on a GPU that computes in it."""
    if name != "auto":
        return name
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def describe_device(device: torch.device) -> str:
    """What a person would call the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> Mapping[str, str]:
    """Versions of what computes: recorded with the states, no part of their fingerprint."""
    names = ("torch", "torchaudio", "transformers", "h5py", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
