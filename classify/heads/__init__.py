"""Classifiers ("heads") on frozen states.

One file per head (`logreg`, `svm`, `boosting`, `closed_form` for ridge and lda, `neighbours` for knn,
`bilstm`, `majority`), each defining a `base.Head`, and one line per head in `registry.HEADS`; those that
predict numbers are in `regression`. To add a head, write such a file and add that line: the search, the
command line and the tests take it from there. `fitted` has what is saved of a head, and `solvers` the
numerics.
"""
