"""What decides a stored state: the content of a file and the settings of an extraction.

extraction.py: `Extraction` and its fingerprint. hashing.py: one file's SHA-256 and times. digests.py:
`DigestCache`, which hashes no unchanged file twice. moved_files.py: `find_former_folder`, for tables whose
audio is on another machine.
Nothing is ever marked stale: another file has another key and other settings another fingerprint, so old
states are not found. `embed.models.lookup.find_model_store` chooses the store.
"""
