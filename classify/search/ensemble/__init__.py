"""Several tuned systems together: their predictions averaged, with weights that inner folds choose.

`members` fits a tuned system again and gives its inner and outer predictions, `greedy` chooses weights, and
`combine` makes the ensemble of each outer fold of a study.
"""
