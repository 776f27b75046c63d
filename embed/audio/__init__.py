"""Any recording → 16 kHz mono float32, or a ClipError that names its fault.

`sound` is the entry: `probe` checks a clip's file, `read_clip` and `read_windows` decode it, `normalise`
scales the samples. `decoding` reads samples by position from one of the `sources` (libsndfile, FFmpeg) or
from `scratch` space, `downmix` makes one channel of several, `resampling` changes the rate. `containers`
finds out what a file is, and `integrity` whether it is complete. `pcm` reads plain 16 kHz WAV without any of
these. `headers` reads those of many clips and makes a clip of each channel; `pool` has the threads that
decode.
"""
