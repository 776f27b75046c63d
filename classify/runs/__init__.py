"""The run folder: what `classify` and `finetune` write, and what `compare` reads.

| file | content | written by |
|---|---|---|
| `run.json` | settings, versions, machine, cost | `run_record.new_record`, `run_folder.write_json` |
| `splits.json` | clip ids of the outer and inner folds | `run_folder.write_splits` |
| `results.csv` | scores of each outer fold, layer and head | `run_folder.write_results` |
| `predictions.csv` | out-of-fold predictions of each system | `run_folder.write_predictions` |
| `summary.json` | selected system, layer curve | `search.summary.summarise`, `run_folder.write_json` |
| `search.db` | trials | `search.storage.TrialStorage` |
| `figures/` | the layer curve | `search.layer_figure.draw_layers` |
| `outcomes/` | finished studies of an unfinished run | `run_folder.save_result` |

`audit.json` and `controls/` are written by `controls.evaluation`, `curves.csv` and `models/` by fine-tuning.
`run_folder.py` writes; `read_predictions.py` and `splits_file.py` read; `compare.py` compares runs,
`cost_table.py` and `cost_figure.py` their costs.
"""
