"""The search: nested cross-validation over outer folds, layers and heads, with an Optuna study for each.

`study.run_study` is the entry point: clips and a store in, a run folder out. `plan.py` decides what is
searched; `units.py` cuts it into pieces for workers, which `parallel.py` runs with joblib; `nested.py`
searches one fold, layer and head; `storage.py` keeps trials; `progress.py`, `console.py`, `layer_figure.py`
and `summary.py` report. `strategies` says which layers and trials get how much of the work, and `sharing`
lets processes on any machines run one search.
"""
