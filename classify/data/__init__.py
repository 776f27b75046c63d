"""The data of a study: which clips, with which labels, in which folds.

Folds are made in `splits.py`: `outer_folds` for every `--split`, `fixed_folds` from clip ids. `group_folds`
balances speaker-disjoint folds; `protocols` makes the fixed splits that `published_splits` lists, by the
rules of `protocol_rules`; `emobox` reads those of a benchmark; `cross_corpus` trains on some corpora and
tests on others. `dataset.join_labels` joins a table's labels to stored states.
"""
