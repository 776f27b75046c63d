"""Where the files of a store are: in a local folder, or on object storage with local copies.

folders.py: find, create and open a store's folder. remote_cache.py: what object storage has, listed.
remote_shards.py: shards that are uploaded, and downloaded when they are opened; read_ahead.py: a few of
them before. tables.py: the small object
with a shard's table of clips. records.py: failures, costs and hashes of files, given to other machines.
"""
