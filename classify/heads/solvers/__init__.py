"""Numerical solvers behind the heads, none of which knows about the search.

`newton.Solver` fits logistic regression and squared-hinge machines, `interior_point.separate` linear support
vector machines, `bilstm_torch` and `attention_torch` train the networks on frames, and `votes` counts those
of pairs of classes and of neighbours.
"""
