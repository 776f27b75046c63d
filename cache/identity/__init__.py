"""What identifies stored states: a clip's content key and an extraction's fingerprint.

extraction.py: `Extraction` and its fingerprint. keys.py: `clip_keys`, the key of each clip of a table.
digests.py: `DigestCache`, SHA-256 of files without hashing an unchanged file twice.
Nothing is ever marked stale: another file has another key and other settings another fingerprint, so old
states are not found. `keys.is_unchanged` catches a file that changes during a run, and
`embed.models.lookup.find_model_store` chooses the store.
"""
