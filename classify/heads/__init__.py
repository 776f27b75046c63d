"""Classifiers ("heads") on frozen states.

One file per head or kind: `logreg`, `svm`, `boosting`, `closed_form` (ridge and lda), `neighbours` (knn),
`weights`, `majority`; `bilstm` and `attention` in `frames`, `mlp` and `gp` in `nonlinear`; those that predict
numbers are in `regression`, those of ordered levels, sets and shares in `structured`. Each defines a
`base.Head`, and `registry.HEADS` has a line for each. To add a head, write such a file and add that line: the
search, the command line and the tests take it from there. `fitted` has what is saved of a head,
`solvers` the numerics.
"""
