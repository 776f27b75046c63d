"""CTranslate2's arrays of whisper-tiny.en → the tensors of transformers' WhisperForConditionalGeneration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from layerprobe.cache.common.errors import ModelError
from layerprobe.embed.models.whisper.ctranslate2 import CTranslate2Model

CONFIG: dict[str, Any] = {
    "architectures": ["WhisperForConditionalGeneration"],
    "model_type": "whisper",
    "dtype": "float16",
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_layers": 4,
    "decoder_attention_heads": 6,
    "decoder_ffn_dim": 1536,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
    "max_target_positions": 448,
    "vocab_size": 51864,
    "activation_function": "gelu",
    "scale_embedding": False,
    "bos_token_id": 50257,
    "eos_token_id": 50256,
    "pad_token_id": 50256,
    "decoder_start_token_id": 50257,
    "tie_word_embeddings": True,
}
PROCESSOR: dict[str, Any] = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "processor_class": "WhisperProcessor",
    "feature_size": 80,
    "sampling_rate": 16000,
    "hop_length": 160,
    "n_fft": 400,
    "chunk_length": 30,
    "n_samples": 480000,
    "nb_max_frames": 3000,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": False,
}
# What the specification records of the architecture, which must be that of CONFIG.
SCALARS = {
    "encoder/num_heads": 6,
    "decoder/num_heads": 6,
    "decoder/activation": 3,  # GELU
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
    "decoder/alignment_heads": 1,
    "decoder/alignment_layer": -1,
}


def convert_tensors(model: CTranslate2Model, *, where: str) -> dict[str, np.ndarray]:
    """CTranslate2's arrays → the tensors of transformers' WhisperForConditionalGeneration, by name.

    Raises ModelError unless every array is used, with the shape and type that CONFIG requires.
    """
    if (model.specification, model.revision) != ("WhisperSpec", 3):
        what = f"holds a {model.specification} of revision {model.revision}, not WhisperSpec 3"
        raise ModelError(what, where=where)
    if model.aliases != {"decoder/projection/weight": "decoder/embeddings/weight"}:
        raise ModelError("its output projection is not tied to its embeddings", where=where)
    arrays = dict(model.arrays)

    def take(name: str, *shape: int) -> np.ndarray:
        if name not in arrays:
            raise ModelError(f"lacks {name}", where=where)
        array = arrays.pop(name)
        if array.shape != shape or (shape and array.dtype != np.float16):
            what = f"{name} has shape {array.shape} and type {array.dtype}, not {shape} and float16"
            raise ModelError(what, where=where)
        return array

    for name, expected in SCALARS.items():
        if (value := int(take(name))) != expected:
            raise ModelError(f"its {name} is {value}, not {expected}", where=where)
    tensors = {**_side(take, "encoder", where=where), **_side(take, "decoder", where=where)}
    if arrays:
        raise ModelError(f"has {len(arrays)} arrays of unknown use, such as {min(arrays)}", where=where)
    return tensors


def _side(take: Callable[..., np.ndarray], side: str, *, where: str) -> dict[str, np.ndarray]:
    """The tensors of the encoder or the decoder."""
    width, inner = CONFIG["d_model"], CONFIG[f"{side}_ffn_dim"]
    encoder = side == "encoder"
    out = f"model.{side}"
    positions = CONFIG["max_source_positions" if encoder else "max_target_positions"]
    tensors = {
        f"{out}.embed_positions.weight": take(f"{side}/position_encodings/encodings", positions, width)
    }
    if encoder:
        for conv, channels in (("conv1", CONFIG["num_mel_bins"]), ("conv2", width)):
            tensors[f"{out}.{conv}.weight"] = take(f"{side}/{conv}/weight", width, channels, 3)
            tensors[f"{out}.{conv}.bias"] = take(f"{side}/{conv}/bias", width)
    else:
        tokens = take(f"{side}/embeddings/weight", CONFIG["vocab_size"], width)
        tensors[f"{out}.embed_tokens.weight"] = tokens

    def norm(source: str, target: str) -> None:
        tensors[f"{target}.weight"] = take(f"{source}/gamma", width)
        tensors[f"{target}.bias"] = take(f"{source}/beta", width)

    def linear(source: str, *targets: str, rows: int = width, columns: int = width) -> None:
        """One stacked linear layer → one for each target, of `rows` outputs; a `k_proj` has no bias."""
        weight, bias = (
            take(f"{source}/weight", rows * len(targets), columns),
            take(f"{source}/bias", rows * len(targets)),
        )
        for i, target in enumerate(targets):
            part = slice(i * rows, (i + 1) * rows)
            tensors[f"{target}.weight"] = weight[part]
            if not target.endswith("k_proj"):
                tensors[f"{target}.bias"] = bias[part]
            elif np.any(bias[part]):
                raise ModelError(f"the keys of {source} have a bias", where=where)

    norm(f"{side}/layer_norm", f"{out}.layer_norm")
    for k in range(CONFIG[f"{side}_layers"]):
        source, target = f"{side}/layer_{k}", f"{out}.layers.{k}"
        own = f"{target}.self_attn"
        norm(f"{source}/self_attention/layer_norm", f"{own}_layer_norm")
        linear(f"{source}/self_attention/linear_0", f"{own}.q_proj", f"{own}.k_proj", f"{own}.v_proj")
        linear(f"{source}/self_attention/linear_1", f"{own}.out_proj")
        if not encoder:
            cross = f"{target}.encoder_attn"
            norm(f"{source}/attention/layer_norm", f"{cross}_layer_norm")
            linear(f"{source}/attention/linear_0", f"{cross}.q_proj")
            linear(f"{source}/attention/linear_1", f"{cross}.k_proj", f"{cross}.v_proj")
            linear(f"{source}/attention/linear_2", f"{cross}.out_proj")
        norm(f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
        linear(f"{source}/ffn/linear_0", f"{target}.fc1", rows=inner)
        linear(f"{source}/ffn/linear_1", f"{target}.fc2", columns=inner)
    return tensors
