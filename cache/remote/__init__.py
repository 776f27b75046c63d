"""Object storage (S3, Google Cloud Storage, Azure Blob Storage), by fsspec.

objects.py: list, read, download and upload objects below a URL. services.py: how each service is opened.
retries.py: what is tried again, and one line for what is not. local_copies.py: downloaded files, which keep
to a size. audio.py: audio files at URLs. `cache.common.places` has the local folder that stands for a URL.
"""
