"""Save a trained model: as a bundle for `predict` (`bundle.py`) with a model card (`card.py`), and as
transformers' own model where that library has one (`transformers_model.py`)."""
