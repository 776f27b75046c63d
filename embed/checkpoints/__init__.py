"""A checkpoint's files: fetched from the hub, checked, and loaded as a frozen transformers model.

Open `hub.py` for downloads, earlier downloads and the hub's errors, `configuration.py` for config.json and
the feature extractor's settings, `source.py` for the weight files and their hashes, `loading.py` for the
model itself. Everything that a damaged or unsuitable file can do ends in one `ModelError`.
"""
