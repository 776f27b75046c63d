"""Linear probes: what each layer encodes of labels, speakers, texts, the sound, and of frames.

Entries: `columns.probe_columns` (columns of the table), `sound.probe_sound` (pitch, level, rate, tilt) and
`frames.probe_frames` (tiers of annotation files, voicing). What they predict is in `targets`, `acoustics` and
`frame_targets`; `linear` fits and scores classes, `ridge` numbers, `description_length` codes labels.
`tables` prints and writes the results, `figure` draws them.
"""
