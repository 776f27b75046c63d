"""Heads on statistics that are not linear: `mlp`, a small network, and `gp`, a Gaussian process.

`laplace` has the approximation that `gp` is fitted by.
"""
