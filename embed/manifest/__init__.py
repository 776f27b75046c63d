"""Tables of clips: which audio is embedded, with its labels, speakers and splits.

`clips` holds `Clip`, `read_manifest` and `write_manifest`. `corpora` makes clips of the known corpora (add
one there) from the files that `audio_files` finds; `join` combines several tables. `tables` reads and writes
cells and paths as text. `synthetic` writes corpora of artificial voices, which `synthesiser` makes.
"""
