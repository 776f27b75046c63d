"""Numerical solvers behind the heads, none of which knows about the search.

`newton.Solver` fits logistic regression and squared-hinge machines, `interior_point.separate` linear support
vector machines, `frame_training` trains the networks of `frame_networks`, and `votes` counts those of pairs
of classes and of neighbours.
"""
