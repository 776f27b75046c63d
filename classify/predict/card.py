"""The model card of a bundle, README.md in the format of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.cache.common.text import escape_markdown, format_percent
from layerprobe.cache.identity.extraction import FRAME
from layerprobe.classify.config import METRICS, task_of
from layerprobe.classify.score_names import SCORE_NAMES, score_interval
from layerprobe.classify.search.console import format_params
from layerprobe.embed.models.presets import PRESETS

RULE = """\
Layer and head are those that the study's outer folds selected most often. Parameters were searched again on
inner folds of all clips, as in each outer fold, and the head was fitted to all clips with the best of them.
The scores above are of this procedure on held-out clips, in nested cross-validation: no clip remains on which
this very model could be tested."""
ENSEMBLE_RULE = """\
The members' layers and heads are among those that the study's outer folds selected. As in each outer fold,
parameters were searched and the best systems weighted on inner folds, here of all clips, to which the members
were then fitted. The prediction is the weighted mean of their calibrated probabilities. The scores above are
of this procedure on held-out clips, in nested cross-validation: no clip remains on which this very model
could be tested."""
EXPORTABLE_RULE = """\
The layer is the one with the best logistic regression on held-out clips. The head reads the mean of its
frames, standardised, so that transformers can run it. Parameters were searched on inner folds of all clips,
and the head was fitted to all clips. The layer was picked by the scores above, which are therefore slightly
too high; and they are of a search that also chose statistics and scaling."""


def model_card(content: Mapping[str, Any]) -> str:
    """The card of a bundle with this bundle.json."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    extraction, scores = content["extraction"], content["scores"]
    name = f"{extraction['model']}, layer {content['layer']}, {content['head']}: {content['target']}"
    preset = PRESETS.get(extraction["model"])
    hub_id = preset.hub_id if preset else extraction["model"] if extraction["revision"] else None
    data = ModelCardData(
        library_name="layerprobe",
        pipeline_tag="audio-classification",
        tags=["speech", "layerprobe", "frozen-backbone"],
        base_model=hub_id,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="audio-classification",
                dataset_name=f"{content['data']['clips']} clips",
                dataset_type="private",
                metric_type=metric,
                metric_name=SCORE_NAMES[metric],
                metric_value=round(scores[metric]["value"], 4),
            )
            for metric in METRICS[task_of(content)]
            if metric in scores
        ],
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(content, name)}"))


def _rule(content: Mapping[str, Any]) -> str:
    """How the system was chosen."""
    if content["exportable"]:
        return EXPORTABLE_RULE
    return ENSEMBLE_RULE if "members" in content else RULE


def _text(content: Mapping[str, Any], name: str) -> str:
    extraction, scores, data = content["extraction"], content["scores"], content["data"]
    speakers = f" of {data['speakers']} speakers" if data["speakers"] else ""
    score_rows = [
        f"| {SCORE_NAMES[metric]} | {entry['value']:.3f} | {score_interval(entry)} |"
        for metric, entry in scores.items()
        if metric in METRICS[task_of(content)]
    ]
    table = ["| label | clips |", "|---|---|"]
    table += [f"| {escape_markdown(label)} | {count} |" for label, count in data["classes"].items()]
    kind, labels = "A classifier of", "labels"
    if "numbers" in data:
        table = ["| least | largest | mean | s.d. |", "|---|---|---|---|"]
        table.append(f"| {' | '.join(f'{value:.4g}' for value in data['numbers'].values())} |")
        kind, labels = "A regression of", "numbers"
    params = format_params(content["params"])
    leaked = content["leaked"]
    warning = ""
    if leaked:
        share = format_percent(leaked)
        warning = f"\n**{share} of the test clips were of speakers seen in training: "
        warning += "the scores hold for known speakers, not for new ones.**\n"
    reading = "which are averaged over time, and a small head reads them"
    if tuple(extraction["stats"]) == (FRAME,):
        reading = "and a small network reads every frame of them"
    backbone = f"{extraction['model']} {extraction['revision']}".strip()
    target = escape_markdown(content["target"])
    return f"""# {escape_markdown(name)}

{kind} `{target}` in speech: a frozen model turns a recording into the states of
one of its layers, {reading}. Made by layerprobe
{content["version"]}.

## Scores

| score | value | 95 % interval |
|---|---|---|
{chr(10).join(score_rows)}

Split: {escape_markdown(content["split"])}; chance is {content["chance"]:.3f}. Intervals resample speakers.
{warning}
{_rule(content)}

## What it is

| | |
|---|---|
| backbone | {escape_markdown(backbone)} |
| SHA-256 of its weights | `{extraction["weights"]}` |
| layer | {escape_markdown(content["layer"])} |
| head | {escape_markdown(content["head"])}: {escape_markdown(params)} |
| score of these parameters on inner folds | {content["inner_score"]:.3f} ({content["metric"]}) |
| precision, storage type | {extraction["precision"]}, {extraction["dtype"]} |

## Training data

{data["clips"]} clips{speakers}:

{chr(10).join(table)}

## Use

```sh
layerprobe predict THIS_FOLDER recordings/ --out predictions.csv
```

```python
from layerprobe import load_bundle

load_bundle("THIS_FOLDER").predict("recording.wav")
```

No file of this folder is a pickle, and layerprobe checks each against its SHA-256 before it reads it.

## Intended use and limits

Recordings like those it was trained on: the same language, recording conditions and kind of speech. The
{labels} are those of the training data; what they say about how a person feels is limited by how they were
collected. Not for decisions about people.
"""
