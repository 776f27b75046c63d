"""The commands `manifest`, `embed`, `models` and `doctor`, one file each.

A command has a dataclass of its options, calls one function and prints the result. Shared options are in
`cache.common.options`; the settings of an extraction in `embed.config`.
"""
