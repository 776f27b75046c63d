"""Is a sound file complete? One module per kind of container, apart from decoding.

Decoders read what is left of a truncated file as if it were complete, drop what they cannot use, and stop at
the end of the first of several joined files. Each module here compares what a file's header declares with
what the file holds, and follows its frames or pages where it has these. `embed.audio.containers` finds the
module for a file; `findings` holds what they report.
"""
