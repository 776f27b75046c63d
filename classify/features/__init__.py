"""Features that heads are fitted on, computed once per fold and shared by all trials.

`fold_features.FoldFeatures` is the entry point: inputs for every `Preprocessing` (statistics, scaling, PCA),
bases and inner products. `scaling` scales and rotates, `kernels` computes Gram matrices and squared
distances, `frames` serves heads that read every frame, and `lru_cache` bounds the memory.
"""
