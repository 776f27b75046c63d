"""Whisper encoders as backbones: `backbone.WhisperBackbone`.

`settings.py` reads a checkpoint's configuration and has the frame counts, `context.py` the silence after a
clip, `log_mel.py` the input features, `weights.py` the encoder's tensors, `reference.py` transformers' own
forward pass for `doctor`. `packaged.py` gets the weights of whisper-tiny.en from an installed package:
`ctranslate2.py` reads its file, `conversion.py` renames the tensors.
"""
