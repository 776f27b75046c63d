"""Pretrained speech models as backbones that compute every layer's states of a batch.

`backbones.open_backbone` loads a model for an `EmbedConfig`: `TransformerBackbone` (wav2vec 2.0, HuBERT, WavLM,
data2vec) or `acoustic.AcousticBackbone` (`mfcc`, `fbank`). `sources.find_model` finds configuration and weights
by name. Open `presets.py` to add a model, `exact_batching.py` for padding (masked GroupNorm, zeroed positional
convolutions), `layers.py` for layer names and frame counts, `hub.py` for downloads, `device.py` for device,
precision and memory, `lookup.py` to find the cached states of a model.
"""
