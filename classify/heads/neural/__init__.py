"""Heads that are networks: `mlp` on statistics over frames, `bilstm` and `attention` on every frame.

All three stop training early, on speakers that they do not train on (`validation.py`). `frames.py` fits those
that read frames, with torch; scikit-learn fits `mlp`.
"""
