"""Train on each corpus and test on each: how far a system carries from one corpus to another.

`command` is the command `matrix`, `config` holds its options; `plan` decides the labels that all corpora have
and the runs; `run.run_matrix` runs them, each a run folder; `cells` scores every pair of corpora; `table`
prints and writes the result, `figure` draws it as a heat map.
"""
