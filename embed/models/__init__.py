"""Pretrained speech models as backbones that compute every layer's states of a batch.

`backbones.open_backbone` loads a model for an `EmbedConfig`: `TransformerBackbone` (wav2vec 2.0, HuBERT,
WavLM, data2vec) or `acoustic.AcousticBackbone` (`mfcc`, `fbank`). `lookup.find_model_store` finds its cached
states. Open `presets.py` to add a model, `exact_batching.py` for padding (masked GroupNorm, positional
convolutions), `layers.py` for layer names and frame counts, `sources.py` and `hub.py` for where
configurations and weights come from, `device.py` for device, precision and memory.
"""
