"""Frozen transformers with fewer, larger operations than the modules they are built from.

`model.FusedModel` runs the wav2vec2 family; Whisper uses its `blocks.py` alone. q, k and v are one product
(`attention.py`), half-precision weights are rounded once (`half.py`), masks exist only where clips differ in
length and are made without waiting for the device (`lengths.py`), and moments over each clip's own frames
take one pass (`moments.py`).
"""
