"""Annotation files next to recordings: their intervals as clips.

`segments.annotated_clips` reads a folder; `beside.read_annotations` finds the file of each recording. `tiers`
holds `Tier` and `Interval`; `textgrid` (Praat), `elan` and `audacity` read one file each.
"""
