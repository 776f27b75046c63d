"""Any recording → 16 kHz mono float32, or a ClipError that names its fault.

`sound` is the entry: `probe` checks a clip's file, `read_clip` and `read_windows` decode it, `normalise`
scales the samples. `decoding` and `libsndfile` decode at the file's own rate, `resampling` changes the rate;
`mp3`, `ogg` and `wav` each look for damage in the files of one container.
"""
