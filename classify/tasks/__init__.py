"""Tasks: what a study predicts, how labels are read, how predictions are made and scored.

`task.Task` is the interface, one instance for each value of `--task` is in `registry.TASKS`: `classification`
(confusion counts in `confusion`, probabilities in `calibration`), `regression` (sums over clips in
`moments`), `ordinal`, `multilabel` (in `label_sets`) and `soft` (in `votes`). Scores are functions of
statistics that add up over speakers, so that a bootstrap over speakers adds instead of counting again.
"""
