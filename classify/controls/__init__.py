"""Evaluation of a study: an audit of its data, and controls that show what its score is worth.

`evaluation` adds both to a run folder: `run_and_evaluate` searches first, `evaluate_run` takes a finished
run. The controls: `shuffled_labels` (selectivity), `baselines` (mfcc, random weights), `probes` (what each
layer encodes), `learning_curve` (fewer training speakers), `few_shot` (few clips). `refit` fits the
selected system again, `checkpoint` saves finished steps, `figures` draws the results, `console` prints them.
"""
