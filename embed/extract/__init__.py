"""Extraction: pass every clip once through a frozen model and store the states of each layer.

Entry points: `run.embed`, `run.embed_with_progress` (the command line), `estimate.estimate` (its dry run),
`in_memory.StateExtractor` (without a store). In the order of a run: `pending.py` (which clips are not cached)
→ `batching.py` (windows, batches) → `prefetch.py` (decode ahead) → `parallel.py` (batches side by side on a
CPU) → `forward.py` (forward pass, out of memory) → `pooling.py` (statistics over frames) → `results.py`
(cast, copy to the host) → `collect.py` (refuse damaged states, merge windows, write).
"""
