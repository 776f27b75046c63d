"""Fine-tuning in several processes. `folds.py`: each trains some of the outer folds of one run."""
