"""Any recording → 16 kHz mono float32, or a ClipError that says what is wrong with it.

`sound` is the entry: `probe` checks a clip's file, `read_clip` and `read_windows` decode it, `normalise` scales
it. `decoding` and `libsndfile` decode at the file's own rate, `resampling` changes the rate; `mp3`, `ogg` and
`wav` each look for damage in files of one container.
"""
