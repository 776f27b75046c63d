"""Extraction: every clip once through a frozen model, each layer's states into the store.

`run.embed` is the entry point (`run.embed_with_progress` on the command line); `estimate.estimate` is its dry run,
`doctor.check_model` tests that batches are exact. In the order of a run: `pending.py` (which clips are not
cached) → `batching.py` (windows, batches) → `prefetch.py` (decode ahead) → `forward.py` (forward pass, out of
memory) → `pooling.py` (statistics over frames) → `collect.py` (merge windows, check, write).
"""
