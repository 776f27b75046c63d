"""What identifies stored states: a clip's content key and an extraction's fingerprint.

extraction.py: `Extraction` and its fingerprint. keys.py: `clip_keys`, the key of each clip of a table.
digests.py: `DigestCache`, SHA-256 of files without hashing an unchanged file twice.
"""
