"""Looking after a cache.

catalog.py: list stores (`describe_cache`) and find one (`find_store`). verify.py: check every byte, repair.
compact.py: merge small shards. prune.py: remove stores or clips. export.py: one layer as a plain file.
rewrite.py: what compact, prune and repair share. channels.py: channels that a store holds as clips.
"""
