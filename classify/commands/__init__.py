"""The commands `classify`, `finetune`, `probe`, `audit`, `compare`, `protocols`, `reproduce` and `demo`.

Each has a file with a dataclass of its options; it calls one function and prints the result. Shared options
are in `cache.common.options`; the settings of a study in `classify.config`, of a fine-tuning in
`classify.finetune.config`.
"""
