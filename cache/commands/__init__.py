"""The commands `cache info`, `verify`, `compact`, `export` and `prune`, one file each.

A command parses its options, calls one function of `cache.maintenance` and prints the result. `selection.py`
holds what they share: which stores of a cache are meant. Commands may import any package; no package imports
a command.
"""
