"""Classifiers ("heads") on frozen states.

One file per head (`logreg`, `svm`, `boosting`, `bilstm`, `majority`), each defining a `base.Head`, and one
line per head in `registry.HEADS`. To add a head, write such a file and add that line: the search, the command
line and the tests take it from there. `newton` and `interior_point` are the solvers behind `logreg` and
`svm`; `bilstm_torch` trains the LSTM.
"""
