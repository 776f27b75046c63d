"""Fine-tuning in several processes. `folds.py`: each trains some of the outer folds of one run. `group.py`:
all train one model, on the shares of a batch that `shares.py` makes; `trainer.py` is the Trainer of both.
`sharding.py`: that of a model which is divided among the processes (FSDP)."""
