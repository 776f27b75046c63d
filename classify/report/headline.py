"""The sentences at the top of a report: what was measured, how far it holds, what leaked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from layerprobe.cache.common.text import format_count
from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.score_names import SCORE_NAMES
from layerprobe.classify.scores.results import system_label
from layerprobe.classify.search.console import remarks


@dataclass(frozen=True, kw_only=True)
class Statement:
    """kind: `good` and `bad` speak for and against the score; `unknown` was not checked; `note` explains."""

    kind: Literal["good", "bad", "unknown", "note"]
    text: str


def agreeing_folds(run: RunData) -> int:
    """In how many outer folds the most frequent layer and head were selected."""
    selected = run.summary["selected"]
    return round(selected["stability"]["system"] * len(selected["folds"]))


def system_name(run: RunData) -> str:
    """`svm on layer 9 of hubert-base`, or `fine-tuned hubert-base`."""
    selected, model = run.summary["selected"], run.summary["model"]
    agreed, folds = agreeing_folds(run), len(selected["folds"])
    if run.finetuned:
        return f"fine-tuned {model}"
    if agreed == 1 < folds:
        return f"{model}, with another layer and head in each outer fold"
    name = f"{system_label(selected['layer'], selected['head'])} of {model}"
    if selected["layer"] == model:  # mfcc, fbank
        name = f"{selected['head']} on {model}"
    return name if agreed == folds else f"{name} in {agreed} of {folds} outer folds, others in the rest"


def score_sentence(run: RunData) -> str:
    """The score with its interval, in a sentence that cannot be read as something else."""
    summary, data = run.summary, run.summary["data"]
    score = summary["selected"][run.metric]
    low, high = score.get("low"), score.get("high")
    over = "speakers" if data["speakers"] else "clips"
    interval = "no interval" if low is None else f"95 % interval {low:.3f} to {high:.3f}, resampling {over}"
    tested, folds = len(run.clips), len(summary["selected"]["folds"])
    spoken = "" if run.speakers is None else f" of {format_count(len(set(run.speakers)), 'speaker')}"
    labels = f"{len(run.summary['data']['classes'])} {'classes' if run.sets is None else 'labels'}"
    if run.numbers is not None:
        labels = f"numbers from {data['numbers']['least']:.4g} to {data['numbers']['largest']:.4g}"
    return (
        f"{SCORE_NAMES[run.metric]} {score['value']:.3f} ({interval}) for {summary['target']}, {labels}, on "
        f"{format_count(tested, 'test clip')}{spoken} in {format_count(folds, 'outer fold')}. Chance is "
        f"{summary['chance']:.3f}."
    )


def statements(run: RunData) -> list[Statement]:
    """What speaks for and against the score, the leaks first."""
    found = [*_chance(run), *_speakers(run), *_protocol(run), *_audit(run), *_shuffled(run), *_selection(run)]
    found += [
        Statement(kind="note", text=line) for line in remarks(run.summary) if "of speakers seen" not in line
    ]
    order = ("bad", "unknown", "good", "note")
    return sorted(found, key=lambda one: order.index(one.kind))


def _chance(run: RunData) -> list[Statement]:
    chance, score = run.summary["chance"], run.summary["selected"][run.metric]
    if score.get("low") is None or score["low"] > chance:
        return []
    text = f"The score is not shown to be above chance: its interval begins at {score['low']:.3f}."
    return [Statement(kind="bad", text=text)]


def _speakers(run: RunData) -> list[Statement]:
    leaked = run.summary["audit"].get("test_clips_of_training_speakers")
    if leaked is None:
        text = "Speakers are not named: whether test speakers were also trained on is unknown."
        return [Statement(kind="unknown", text=text)]
    if leaked:
        text = (
            f"LEAK: {leaked:.1%} of the test clips are from speakers who are also in the training partition. "
            "The score holds for known speakers, not for new ones."
        )
        return [Statement(kind="bad", text=text)]
    made = []
    text = "No test speaker is in the training partition of the same fold: the score is for unseen speakers."
    made.append(Statement(kind="good", text=text))
    scalings = {fold["params"].get("scaling") for fold in run.summary["selected"]["folds"]}
    if "speaker" in scalings:
        text = (
            "The selected system scales by speaker: it uses all unlabelled clips of a test speaker before it "
            "classifies one. The score does not hold for a single clip of a new speaker."
        )
        made.append(Statement(kind="bad", text=text))
    return made


def _protocol(run: RunData) -> list[Statement]:
    protocol: Mapping[str, Any] | None = run.summary.get("protocol")
    if not protocol:
        return []
    made = [Statement(kind="note", text=f"Protocol {protocol['name']}; it leaks: {protocol['leaks']}")]
    if deviations := "; ".join(protocol["deviations"]):
        text = (
            f"This is not {protocol['name']} as published, so published scores do not compare: {deviations}"
        )
        made.append(Statement(kind="bad", text=text))
    return made


def _audit(run: RunData) -> list[Statement]:
    if run.finetuned:
        text = "Fine-tuning has no audit and no controls of its own: see the run whose folds it uses."
        return [Statement(kind="unknown", text=text)]
    if run.audit is None:
        text = "The audit was not run: duplicates and other leaks were not searched for."
        return [Statement(kind="unknown", text=text)]
    items = {
        verdict: [finding["item"] for finding in run.audit["findings"] if finding["verdict"] == verdict]
        for verdict in ("leak", "look")
    }
    made = []
    if items["leak"]:
        text = f"LEAK, found by the audit: {', '.join(items['leak'])}. See the table of the audit."
        made.append(Statement(kind="bad", text=text))
    else:
        made.append(Statement(kind="good", text="The audit found no leak in what it could check."))
    if items["look"]:
        text = f"The audit found cues to the label that need a look: {', '.join(items['look'])}."
        made.append(Statement(kind="note", text=text))
    if unchecked := run.audit.get("unchecked"):
        names = [str(item).partition(":")[0] for item in unchecked]
        text = f"The audit could not check: {', '.join(names)}."
        made.append(Statement(kind="unknown", text=text))
    return made


def _shuffled(run: RunData) -> list[Statement]:
    shuffled = run.summary["controls"].get("shuffled")
    if shuffled is None and run.finetuned:
        return []
    if shuffled is None:
        text = "No controls were run: what the system scores with shuffled labels is unknown."
        return [Statement(kind="unknown", text=text)]
    score, apart = shuffled[run.metric], shuffled["selectivity"]
    low, high = apart.get("low"), apart.get("high")
    interval = "" if low is None else f" (95 % interval {low:+.3f} to {high:+.3f})"
    text = (
        f"Trained on shuffled labels, the same system scores {score['value']:.3f} ± {score['sd']:.3f}; the "
        f"difference is {apart['value']:+.3f}{interval}."
    )
    above = low is None or low > 0
    return [Statement(kind="good" if above else "bad", text=text)]


def _selection(run: RunData) -> list[Statement]:
    if run.finetuned or len(run.summary["selected"]["folds"]) < 2:
        return []
    text = (
        "Each outer fold selects its layer, head and parameters on inner folds, never on test clips. The "
        "score is of this selection, not of one fixed layer."
    )
    return [Statement(kind="note", text=text)]
