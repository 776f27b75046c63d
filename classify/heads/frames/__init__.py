"""Heads that read every frame: `bilstm`, a bidirectional LSTM, and `attention`, a learnt weighting of frames.

`fitting` has what both share: scaled frames, the clips that decide when to stop, and the fit to all clips.
"""
