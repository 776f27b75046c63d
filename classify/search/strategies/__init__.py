"""How a study divides its work between layers and trials.

`halving.py` gives the best layers more trials, `pruning.py` stops trials that fall behind, `sampling.py`
names Optuna's samplers. `quick.py` tunes nothing: one fixed linear probe for each layer and outer fold.
"""
