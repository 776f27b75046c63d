"""Reports of reproduced rows: the scores of a row's four runs next to the published accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from layerprobe.classify.reproduce.published import CorpusSource, PublishedSystem
from layerprobe.classify.runs.folder import RUN, SUMMARY, read_json
from layerprobe.classify.scores.metrics import Interval

State = Literal["ready", "missing", "failed", "done"]
FINE_TUNED, HEADS = "fine-tuned", "heads"
UNSEEN_FINE_TUNED, UNSEEN_HEADS = "unseen-fine-tuned", "unseen-heads"
RUNS = (FINE_TUNED, HEADS, UNSEEN_FINE_TUNED, UNSEEN_HEADS)  # names of the run folders of a row

# Field of a report → column of the printed table.
_SPEAKER_INDEPENDENT_COLUMNS = {
    "fine_tuned": "speaker-independent: fine-tuned",
    "heads": "speaker-independent: heads",
}
_STAND_IN_COLUMNS = {
    "fine_tuned": "stand-in: fine-tuned",
    "heads": "stand-in: heads",
    "unseen_fine_tuned": "stand-in, speaker-independent: fine-tuned",
    "unseen_heads": "stand-in, speaker-independent: heads",
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """Scores of one run on its test clips."""

    accuracy: Interval
    uar: Interval
    clips: int


@dataclass(frozen=True, kw_only=True)
class SpeakerIndependent:
    """Scores on speakers that are not in the training partition; None for an unfinished run."""

    fine_tuned: Score | None
    heads: Score | None


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """Scores of stand-ins: they show that every step works, and say nothing about the system."""

    fine_tuned: Score | None
    heads: Score | None
    unseen_fine_tuned: Score | None
    unseen_heads: Score | None


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A corpus or weights that were not found: why, where to get them, and where they are expected."""

    name: str
    reason: str
    source: str
    licence: str
    expected: str

    @classmethod
    def corpus(cls, source: CorpusSource, *, reason: str) -> Missing:
        return cls(
            name=f"corpus {source.name}: {source.title}, {source.clips:,} clips",
            reason=reason,
            source=source.where,
            licence=source.licence,
            expected=f"FOLDER/{source.name} for --corpora FOLDER; in it {source.layout}",
        )

    @classmethod
    def weights(cls, hub_id: str, *, reason: str) -> Missing:
        return cls(
            name=f"weights {hub_id}",
            reason=reason,
            source=f"hf download {hub_id}, from the Hugging Face hub",
            licence="on the model's page",
            expected=f"the hub's cache; or FOLDER/{hub_id} for --weights FOLDER, with config.json and "
            "model.safetensors",
        )


@dataclass(frozen=True, kw_only=True)
class RowReport:
    """One row of the table.

    published: accuracy as published. reproduced: the fine-tuned system on the published split. heads: heads
    on frozen states, on the same split. stand_in: scores of stand-ins, which leave these two and
    speaker_independent None. failures: failed runs, with the reason. runs: folders of finished runs.
    """

    row: str
    corpus: str
    model: str
    state: State
    published: float
    published_clips: int
    reproduced: Score | None
    heads: Score | None
    speaker_independent: SpeakerIndependent | None
    stand_in: StandIn | None
    missing: tuple[Missing, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    runs: Mapping[str, Path]


def report_row(
    system: PublishedSystem,
    folder: Path,
    *,
    stand_in: bool,
    missing: Sequence[Missing] = (),
    failures: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> RowReport:
    """Report on the runs in `folder`, finished or not. Raises InputError for a damaged run."""
    runs = {name: folder / name for name in RUNS if _is_finished(folder / name)}
    scores = {name: _score(read_json(path / SUMMARY)) for name, path in runs.items()}
    fine_tuned, heads, unseen_fine_tuned, unseen_heads = (scores.get(name) for name in RUNS)
    state: State = "done" if len(runs) == len(RUNS) else "missing" if missing else "ready"
    real = bool(runs) and not stand_in
    unseen = SpeakerIndependent(fine_tuned=unseen_fine_tuned, heads=unseen_heads)
    stand_in_scores = StandIn(
        fine_tuned=fine_tuned, heads=heads, unseen_fine_tuned=unseen_fine_tuned, unseen_heads=unseen_heads
    )
    return RowReport(
        row=system.name,
        corpus=" + ".join(system.corpora),
        model=system.hub_id,
        state="failed" if failures else state,
        published=system.accuracy,
        published_clips=system.clips,
        reproduced=fine_tuned if real else None,
        heads=heads if real else None,
        speaker_independent=unseen if real else None,
        stand_in=stand_in_scores if runs and stand_in else None,
        missing=tuple(missing),
        failures=tuple(failures),
        notes=tuple(notes),
        runs=runs,
    )


def table_row(report: RowReport, *, stand_in: bool) -> dict[str, object]:
    """The row as printed: accuracies in per cent, each with its interval over speakers."""
    row: dict[str, object] = {
        "row": report.row,
        "published": f"{100 * report.published:.0f}",
        "reproduced": _cell(report.reproduced),
    }
    scores: StandIn | SpeakerIndependent | None
    if stand_in:
        scores, columns = report.stand_in, _STAND_IN_COLUMNS
    else:
        row["heads, same split"] = _cell(report.heads)
        scores, columns = report.speaker_independent, _SPEAKER_INDEPENDENT_COLUMNS
    row.update({column: _cell(getattr(scores, field, None)) for field, column in columns.items()})
    return {**row, "state": report.state}


def plan_row(report: RowReport) -> dict[str, object]:
    """The row as a dry run prints it: what it is and whether it can run."""
    return {
        "row": report.row,
        "corpus": report.corpus,
        "model": report.model,
        "published": f"{100 * report.published:.0f}",
        "state": report.state,
        "finished": f"{len(report.runs)} of {len(RUNS)} runs",
    }


def _is_finished(run: Path) -> bool:
    return (run / RUN).is_file() and bool(read_json(run / RUN).get("finished"))


def _score(summary: Mapping[str, Any]) -> Score:
    selected = summary["selected"]
    return Score(
        accuracy=Interval(**selected["accuracy"]),
        uar=Interval(**selected["uar"]),
        clips=sum(entry["clips"] for entry in selected["classes"]),
    )


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    value, low, high = score.accuracy.value, score.accuracy.low, score.accuracy.high
    has_interval = low is not None and low == low
    return f"{100 * value:.0f}" + (f" [{100 * low:.0f}, {100 * high:.0f}]" if has_interval else "")
