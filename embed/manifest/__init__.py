"""Tables of clips: which audio is embedded, with its labels, speakers and splits.

`clips` holds `Clip`, `read_manifest` and `write_manifest`. `corpora` makes clips of known corpora and by
patterns, from the files that `audio_files` finds; `join` combines several tables. `tables` reads and writes
cells as text (`readers` has a module per format), `columns` and `times` know what a column means, `paths`
finds the file that a cell names. `channels` makes clips of a recording's channels, `annotations` of
annotation files. `synthetic` writes corpora of artificial voices, which `synthesiser` makes.
"""
