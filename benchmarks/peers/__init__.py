"""layerprobe and its peers side by side: the same clips, the same model folder, the same folds.

`run.py` is the one command, `methods.py` has a function for each row. `transformers_states.py` imports
nothing of layerprobe; `grid_search.py` is scikit-learn's search on our states; `metering.py` measures a
process.
"""
