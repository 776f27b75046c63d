"""Several models or feature sets in one study: joined early, or their predictions averaged late.

`run.run_fusion` is the entry point: a study of each model, on the same folds, then the fusion of what their
inner folds selected. `sources` has the models, `joined_store` their states side by side, `early` and `late`
the two kinds of fusion, `gain` what a fusion gains over the best single model, `console` its printout.
"""
