"""A Whisper checkpoint's configuration → the settings of its encoder, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.checkpoints.configuration import WHISPER

# The log-mel spectrum, in samples at 16 kHz: the same in every Whisper model.
WINDOW, MEL_HOP = 400, 160
# The second convolution halves the rate of the spectrum.
HOP = 2 * MEL_HOP  # samples from one frame of the encoder to the next
# Two convolutions of three steps each, over windows of the spectrum.
RECEPTIVE_FIELD = WINDOW + 2 * MEL_HOP + 2 * MEL_HOP

# What determines the encoder, with the defaults of transformers' WhisperConfig.
_SIZES = {
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
}
_OTHERS = {"activation_function": "gelu"}
_EXTRACTOR = {"n_fft": WINDOW, "hop_length": MEL_HOP}
_SAVED = "take the files that save_pretrained wrote"
_LARGEST = 2**20  # in any of the sizes


def encoder_settings(
    config: Mapping[str, Any], processor: Mapping[str, Any], *, folder: Path
) -> dict[str, Any]:
    """The settings of the encoder alone: those of the decoder and of generation change no state here.

    config, processor: contents of config.json and preprocessor_config.json ({} if there is none). Raises
    ModelError for a size that is no positive integer and for another spectrum than Whisper's.
    """
    settings = {"model_type": WHISPER, **{name: config.get(name, value) for name, value in _SIZES.items()}}
    for name in _SIZES:
        value = settings[name]
        if type(value) is not int or not 0 < value <= _LARGEST:
            raise ModelError(f"its {name} is {value}", where=str(folder / "config.json"), do=_SAVED)
    width, heads = settings["d_model"], settings["encoder_attention_heads"]
    if width % (2 * heads):
        what = f"its d_model of {width} is no even multiple of {heads} encoder_attention_heads"
        raise ModelError(what, where=str(folder / "config.json"), do=_SAVED)
    settings |= {name: config.get(name, value) for name, value in _OTHERS.items()}
    if not isinstance(settings["activation_function"], str):
        what = f"its activation_function is {settings['activation_function']}"
        raise ModelError(what, where=str(folder / "config.json"), do=_SAVED)
    for name, expected in {**_EXTRACTOR, "feature_size": settings["num_mel_bins"]}.items():
        if processor.get(name, expected) != expected:
            what = f"its {name} is {processor[name]}, and the encoder expects {expected}"
            raise ModelError(what, where=str(folder / "preprocessor_config.json"), do=_SAVED)
    return settings


def frame_count(samples: int) -> int:
    """Frames whose centre lies within a clip of `samples` samples: one every 20 ms, the first at 0."""
    return -(-samples // HOP)
