"""Heads of `--task regression`: ridge, support vector regression, boosted trees, and the mean.

Each is the counterpart of a classifier and shares its scaled inputs, bases, kernels and quantised columns. A
head predicts one number for each clip, (m, 1).
"""
