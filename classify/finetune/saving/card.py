"""The model card of a fine-tuned model, README.md in the format of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.cache.common.text import escape_markdown
from layerprobe.embed.models.presets import PRESETS

TRANSFORMERS = """```python
from transformers import pipeline

pipeline("audio-classification", model="THIS_FOLDER")("recording.wav")
```

"""


def model_card(about: Mapping[str, Any], *, labels: Sequence[str], window: float, transformers: bool) -> str:
    """The card of one fold's model.

    about: target, base_model, revision (empty if it is not from the hub), fold, metric and validation_score,
    as in bundle.json. window: seconds above which recordings are cut. transformers: whether that library can
    run the folder.
    """
    from huggingface_hub import ModelCard, ModelCardData

    base = str(about["base_model"])
    preset = PRESETS.get(base)
    data = ModelCardData(
        library_name="transformers" if transformers else "layerprobe",
        pipeline_tag="audio-classification",
        tags=["speech", "layerprobe", "fine-tuned"],
        base_model=preset.hub_id if preset else base if about["revision"] else None,
    )
    score = about["validation_score"]
    chosen = "no validation part: the last epoch"
    if score is not None:
        chosen = f"{about['metric']} of its validation part: {score:.3f}, by which the epoch was chosen"
    return str(
        ModelCard(
            f"""---
{data.to_yaml()}
---

# {escape_markdown(base)}, fine-tuned: {escape_markdown(str(about["target"]))}

The model of one fold of a cross-validation by layerprobe, which was not trained on the fold's test clips. The
score of all folds together is in the run's `summary.json`.

| | |
|---|---|
| base model | {escape_markdown(base)} |
| fold | {about["fold"]} |
| selection | {chosen} |
| labels | {", ".join(map(escape_markdown, labels))} |

## Use

{TRANSFORMERS if transformers else ""}```python
from layerprobe import load_bundle

load_bundle("THIS_FOLDER").predict("recording.wav")
```

layerprobe cuts recordings of more than {window:g} s into windows, as in training, and averages their logits.
No file of this folder is a pickle.

## Intended use and limits

Recordings like those it was trained on: the same language, recording conditions and kind of speech. The
labels are those of the training data; what they say about how a person feels is limited by how they were
collected. Not for decisions about people.
"""
        )
    )
