"""Classifiers on cached states: searched over layers, scored on unseen speakers, compared and audited.

Packages, from the bottom up: `data` (labels, folds, protocols) and `features` (what trials share); `scores`
and `audit`; `heads` (one file per classifier) and `runs` (the run folder); `search` (nested cross-validation
with Optuna); `controls` (probes, shuffled labels, baselines) and `finetune` (full fine-tuning on the same
folds); `reproduce` (the published table); `commands` (the command line). `config.py` holds the options of a
study.
"""
