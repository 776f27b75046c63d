"""One store: a folder of immutable HDF5 shards with the states of one extraction (docs/store-format.md).

keys.py: `clip_keys`, the key of each clip; `is_unchanged` catches a file that changes during a run.
feature_store.py: `FeatureStore` reads. writer.py: `StoreWriter` adds clips; background_writer.py: threads.
shard.py: one HDF5 file. index.py: which shard has which clip. failures.py, costs.py: the CSV files.
row_reader.py, packed_arrays.py and deferred_error_file.py: fast reads, compact memory, safe writes.
"""
