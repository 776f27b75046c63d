"""Layer names, widths and frame counts of a model, derived from its configuration without loading weights.

Layer names are the same for every version of transformers (`cache.identity.extraction.LAYER_CONVENTION`):

- `0` is the input of the first transformer block;
- `k` (1…N) is the output of block k, before any final norm;
- `final` is the output of the final LayerNorm, where one follows block N (large, XLS-R, Conformer, Whisper);
- `cnn`, on request, is the output of the convolutional front end, before its projection. SEW has no such
  layer here, because its blocks have fewer frames than its front end; wav2vec2-bert has no such front end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.cache.common.errors import InputError
from layerprobe.embed.checkpoints.configuration import MEL_STACK, SEW, WAV2VEC2_BERT, WHISPER

CNN, FINAL = "cnn", "final"
_STABLE = ("wav2vec2", "hubert", "wavlm", "unispeech-sat")  # families in which a flag adds a final LayerNorm
MEL_WINDOW, MEL_HOP = 400, 160  # samples of a log-mel frame, of wav2vec2-bert


def layer_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers of `--layers all`: every one except `cnn`."""
    family = config["model_type"]
    if family == WHISPER:
        return (*_numbers(config["encoder_layers"]), FINAL)
    names = _numbers(config["num_hidden_layers"])
    stable = family in _STABLE and config.get("do_stable_layer_norm", False)
    return (*names, FINAL) if stable or family == "wav2vec2-conformer" else names


def _numbers(blocks: int) -> tuple[str, ...]:
    return tuple(str(k) for k in range(blocks + 1))


def other_layers(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Layers that may be selected but are not part of `--layers all`: `cnn`, where the model has it."""
    return () if config["model_type"] in (*SEW, WAV2VEC2_BERT) else (CNN,)


def layer_width(config: Mapping[str, Any], layer: str) -> int:
    """D: the size of a frame's vector in this layer."""
    if config["model_type"] == WHISPER:
        return int(config["d_model"])
    return int(config["conv_dim"][-1] if layer == CNN else config["hidden_size"])


def parse_layers(text: str, available: Sequence[str], *, also: Sequence[str] = ()) -> tuple[str, ...]:
    """`all`, or names and ranges such as `0-6,9,final`; in the order of `available`, without duplicates.

    also: names that may be selected but are not part of `all`. Raises InputError for unknown layers.
    """
    known = [*also, *available]
    selected: set[str] = set()
    for item in (item.strip() for item in text.split(",")):
        low, dash, high = item.partition("-")
        if item == "all":
            selected.update(available)
        elif item in known:
            selected.add(item)
        elif dash and low in known and high in known:
            first, last = known.index(low), known.index(high)
            if first > last:
                raise InputError(f"layers {item} run backwards", do=f"write {high}-{low}")
            selected.update(known[first : last + 1])
        else:
            where = f" in '{text}'" if item != text else ""
            what = f"no layer {item or 'without a name'}{where}"
            raise InputError(what, do=f"there are {', '.join(known)}")
    return tuple(name for name in known if name in selected)


def named_layers(text: str) -> tuple[str, ...]:
    """The names written in a layer selection: of `0-6,9` they are 0, 6 and 9; of `all`, none."""
    names = (name.strip() for item in text.split(",") for name in item.split("-"))
    return tuple(dict.fromkeys(name for name in names if name not in ("", "all")))


def embed_options(*, layers: Sequence[str], stats: Sequence[str]) -> str:
    """The options with which `embed` computes just these layers and statistics; "" for its defaults."""
    options = {"--layers": ",".join(layers), "--stats": ",".join(stats)}
    return " ".join(f"{option} {names}" for option, names in options.items() if names)


def frame_count(config: Mapping[str, Any], samples: int) -> int:
    """Frames that the blocks compute from `samples` samples."""
    if config["model_type"] == WAV2VEC2_BERT:
        return max(0, 1 + (samples - MEL_WINDOW) // MEL_HOP) // MEL_STACK
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        samples = (samples - kernel) // stride + 1
    return max(samples, 0) // squeeze(config)


def squeeze(config: Mapping[str, Any]) -> int:
    """Frames of the front end that the blocks process as one: 1 except in SEW."""
    return int(config.get("squeeze_factor", 2)) if config["model_type"] in SEW else 1


def hop(config: Mapping[str, Any]) -> int:
    """Samples from one frame to the next."""
    if config["model_type"] == WAV2VEC2_BERT:
        return MEL_HOP * MEL_STACK
    return math.prod(config["conv_stride"]) * squeeze(config)


def receptive_field(config: Mapping[str, Any]) -> int:
    """Samples that one frame of the front end covers."""
    if config["model_type"] == WAV2VEC2_BERT:
        return MEL_WINDOW + MEL_HOP * (MEL_STACK - 1)
    field, step = 1, 1
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        field += (kernel - 1) * step
        step *= stride
    return field + (squeeze(config) - 1) * step
