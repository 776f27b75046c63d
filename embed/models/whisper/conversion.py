"""CTranslate2's arrays of whisper-tiny.en → the tensors of transformers' WhisperForConditionalGeneration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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


def convert_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """CTranslate2's arrays → the tensors of transformers' WhisperForConditionalGeneration, by name."""
    return {**_side(arrays, "encoder"), **_side(arrays, "decoder")}


def _side(arrays: Mapping[str, np.ndarray], side: str) -> dict[str, np.ndarray]:
    """The tensors of the encoder or the decoder."""
    encoder, out = side == "encoder", f"model.{side}"
    tensors = {f"{out}.embed_positions.weight": arrays[f"{side}/position_encodings/encodings"]}
    if encoder:
        for conv in ("conv1", "conv2"):
            for name in ("weight", "bias"):
                tensors[f"{out}.{conv}.{name}"] = arrays[f"{side}/{conv}/{name}"]
    else:
        tensors[f"{out}.embed_tokens.weight"] = arrays[f"{side}/embeddings/weight"]

    def norm(source: str, target: str) -> None:
        tensors[f"{target}.weight"] = arrays[f"{source}/gamma"]
        tensors[f"{target}.bias"] = arrays[f"{source}/beta"]

    def linear(source: str, *targets: str) -> None:
        """One stacked linear layer → one for each target; a `k_proj` has no bias."""
        for name in ("weight", "bias"):
            for target, part in zip(targets, np.split(arrays[f"{source}/{name}"], len(targets)), strict=True):
                if name == "weight" or not target.endswith("k_proj"):
                    tensors[f"{target}.{name}"] = part

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
        linear(f"{source}/ffn/linear_0", f"{target}.fc1")
        linear(f"{source}/ffn/linear_1", f"{target}.fc2")
    return tensors
