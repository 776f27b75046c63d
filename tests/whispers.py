"""Tiny Whisper models with random weights, saved as by `save_pretrained`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64,
    "vocab_size": 99,
    "max_target_positions": 16,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
    "begin_suppress_tokens": None,
}


def save_whisper(
    folder: Path, *, kind: str = "WhisperForConditionalGeneration", seed: int = 0, **changes: Any
) -> Path:
    """`folder` as `save_pretrained` writes it. kind: a class of transformers."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.WhisperConfig(**{**SMALL, **changes})
    model = getattr(transformers, kind)(config)
    for parameter in model.parameters():  # as far from zero as trained weights, biases and norms included
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
    return folder
