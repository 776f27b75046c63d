"""Full fine-tuning of a speech model on fixed splits, into the run folder that `classify` writes.

`run.py` has the entry point `finetune`, `config.py` the options. `validation.py` sets clips aside in each
fold, `cross_validation.py` trains the folds, and `fit.py` tunes hyper-parameters within one. `training.py`
drives transformers' Trainer on the clips of `data.py` and the classifier of `model.py`, whose network is in
`networks.py`; `checkpoints.py` makes it resumable; `figures.py` writes the training curves.
"""
