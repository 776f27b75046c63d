"""Tables of clips: which audio is embedded, with its labels, speakers and splits.

`clips` holds `Clip`, `read_manifest` and `write_manifest`; `corpora` makes clips of the known corpora (add one there)
from what `audio_files` finds; `join` puts tables together. `tables` reads and writes cells and paths as text.
`synthetic` writes a corpus of voices made by `synthesiser`.
"""
