"""Pretrained speech models as backbones that compute every layer's states of a batch.

`backbones.open_backbone` loads a model for an `EmbedConfig` as a `Backbone` (`interface.py`): the wav2vec 2.0
family and SEW (`wav2vec2.py`, run by `fused`), wav2vec2-bert (`wav2vec2_bert.py`), acoustic features
(`acoustic.py`).
`lookup.find_model_store` finds its cached states. Open `presets.py` to add a model, `exact_batching.py` for
padding (masked GroupNorm, positional convolutions), `layers.py` for layer names and frame counts,
`sources.py` for what a model's name means, `device.py` for device, precision and memory.
"""
