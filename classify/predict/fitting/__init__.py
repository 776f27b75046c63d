"""Fits to all clips of a study, for its bundle.

`search` finds the parameters of one layer and head and fits it (`refit`); `ensemble` does so for several and
weights them; `averaged` is the ensemble after its fit.
"""
