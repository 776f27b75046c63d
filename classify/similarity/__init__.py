"""How similar layers are: every layer of one model against every layer of the same or of another model.

`layers.compare_layers` reads the states of two stores and returns a `Similarity`: a value and an interval for
each pair of layers. `cka` and `svcca` are the two measures, each computed for all speakers and without each
group of speakers, which `scores.jackknife` turns into intervals. `figure` draws the matrix, `table` writes
it.
"""
