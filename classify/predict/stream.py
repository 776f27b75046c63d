"""Predict a stream of sound while it arrives: raw PCM from a microphone or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from layerprobe.classify.predict.bundle import Bundle, Prediction

TYPE, BYTES = "<i2", 2  # a sample: 16 bit, signed, little-endian


def windows_of(
    stream: BinaryIO, *, rate: int, window: float, hop: float
) -> Iterator[tuple[float, np.ndarray]]:
    """Begin in seconds and samples (T,) int16 of each window, as soon as it is complete.

    As `recordings.spans`: one every `hop` seconds, and one that ends with the stream.
    """
    size, step = round(window * rate), round(hop * rate)
    held, first = np.empty(0, TYPE), 0  # the latest samples, and the position of the first of them
    begin, covered = 0, 0  # of the next window; where the last one ended
    while True:
        missing = begin + size - (first + len(held))
        data = stream.read(missing * BYTES)
        held = np.concatenate([held, np.frombuffer(data, TYPE, len(data) // BYTES)])
        end = first + len(held)
        if len(data) < missing * BYTES:
            break
        yield begin / rate, held[begin - first :]
        covered, begin = end, begin + step
        dropped = max(0, min(begin, end - size) - first)
        held, first = held[dropped:], first + dropped
    if end > covered:
        last = max(first, end - size)
        yield last / rate, held[last - first :]


def predict_stream(
    bundle: Bundle, stream: BinaryIO, *, rate: int, window: float, hop: float, min_confidence: float
) -> Iterator[tuple[float, float, Prediction]]:
    """Begin and end in seconds, and the prediction, of each window, as soon as it is complete."""
    for begin, samples in windows_of(stream, rate=rate, window=window, hop=hop):
        (prediction,) = bundle.predict_waves([samples], rate=rate, min_confidence=min_confidence)
        yield begin, begin + len(samples) / rate, prediction
