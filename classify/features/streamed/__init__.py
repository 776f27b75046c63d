"""Features of more clips than fit into memory: states in a temporary file, read in blocks for each pass.

`stored` writes a layer to the file and reads rows of it; `rows` is a head's input as a lazy array, computed
from the file when it is read; `moments` has what scaling and principal axes need, each in one pass; `fold`
is the counterpart of `features.fold_features`; `fitted` what a bundle stores of it.
"""
