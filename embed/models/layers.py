"""What a model's configuration says of its layers and frames, known without loading a weight.

Layers are named once, whatever the version of transformers (`cache.identity.extraction.LAYER_CONVENTION`):

- `0` is what enters the first transformer block;
- `k` (1…N) is what block k gives, before any final norm;
- `final` is the output of the final LayerNorm, only where one follows block N (large, XLS-R);
- `cnn`, on request, is the output of the convolutional front end, before its projection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.cache.common.errors import InputError

CNN, FINAL = "cnn", "final"


def layer_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers of `--layers all`: every one but `cnn`."""
    names = tuple(str(k) for k in range(config["num_hidden_layers"] + 1))
    return (*names, FINAL) if config.get("do_stable_layer_norm", False) else names


def layer_width(config: Mapping[str, Any], layer: str) -> int:
    """D: numbers a frame has in this layer."""
    return int(config["conv_dim"][-1] if layer == CNN else config["hidden_size"])


def parse_layers(text: str, available: Sequence[str], *, also: Sequence[str] = ()) -> tuple[str, ...]:
    """`all`, or names and ranges as in `0-6,9,final`; in the order of `available`, each once.

    `also` are names that may be asked for but are not part of `all`. Raises InputError.
    """
    known = [*also, *available]
    wanted: set[str] = set()
    for part in (p.strip() for p in text.split(",")):
        low, dash, high = part.partition("-")
        if part == "all":
            wanted.update(available)
        elif part in known:
            wanted.add(part)
        elif dash and low in known and high in known:
            first, last = known.index(low), known.index(high)
            if first > last:
                raise InputError(f"layers {part} run backwards", do=f"write {high}-{low}")
            wanted.update(known[first : last + 1])
        else:
            where = f" in '{text}'" if part != text else ""
            told = f"no layer {part or 'without a name'}{where}"
            raise InputError(told, do=f"there are {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def named_layers(text: str) -> tuple[str, ...]:
    """The names that stand in such a text: of `0-6,9` they are 0, 6 and 9; of `all` none."""
    names = (name.strip() for part in text.split(",") for name in part.split("-"))
    return tuple(dict.fromkeys(name for name in names if name not in ("", "all")))


def embed_options(*, layers: Sequence[str], stats: Sequence[str]) -> str:
    """What `embed` must be told to compute just these; nothing where nothing special is asked for."""
    told = {"--layers": ",".join(layers), "--stats": ",".join(stats)}
    return " ".join(f"{option} {names}" for option, names in told.items() if names)


def frame_count(config: Mapping[str, Any], samples: int) -> int:
    """Frames that the convolutional front end makes of so many samples."""
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        samples = (samples - kernel) // stride + 1
    return max(samples, 0)


def hop(config: Mapping[str, Any]) -> int:
    """Samples from one frame to the next."""
    product = 1
    for stride in config["conv_stride"]:
        product *= stride
    return product


def receptive_field(config: Mapping[str, Any]) -> int:
    """Samples of sound that one frame of the front end sees."""
    field, step = 1, 1
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        field += (kernel - 1) * step
        step *= stride
    return field
