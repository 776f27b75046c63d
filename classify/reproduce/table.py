"""Reports of reproduced rows: the scores of a row's four runs next to the published accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layerprobe.classify.reproduce.published import PublishedSystem
from layerprobe.classify.runs.run_folder import RUN, SUMMARY, read_json
from layerprobe.classify.scores.bootstrap import Interval

State = Literal["ready", "missing", "failed", "done"]
FINE_TUNED, HEADS = "fine-tuned", "heads"
UNSEEN_FINE_TUNED, UNSEEN_HEADS = "unseen-fine-tuned", "unseen-heads"
RUNS = (FINE_TUNED, HEADS, UNSEEN_FINE_TUNED, UNSEEN_HEADS)  # names of the run folders of a row


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
class Missing:
    """A corpus or weights that were not found: why, where to get them, and where they are expected."""

    name: str
    reason: str
    source: str
    licence: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class RowReport:
    """One row of the table.

    published: accuracy as published. reproduced: the fine-tuned system on the published split. heads: heads
    on frozen states, on the same split. stand_in: scores of stand-ins by run, which say nothing about the
    system; then the scores above are None. failures: failed runs, with the reason. runs: finished ones.
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
    stand_in: Mapping[str, Score | None] | None
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
    """ProgressCallback on the runs in `folder`, finished or not. Raises InputError for a damaged run."""
    runs = {name: folder / name for name in RUNS if _is_finished(folder / name)}
    scores = {name: _score(runs[name]) if name in runs else None for name in RUNS}
    unseen = SpeakerIndependent(fine_tuned=scores[UNSEEN_FINE_TUNED], heads=scores[UNSEEN_HEADS])
    real = bool(runs) and not stand_in
    state: State = "done" if len(runs) == len(RUNS) else "missing" if missing else "ready"
    return RowReport(
        row=system.name,
        corpus=" + ".join(system.corpora),
        model=system.hub_id,
        state="failed" if failures else state,
        published=system.accuracy,
        published_clips=system.clips,
        reproduced=scores[FINE_TUNED] if real else None,
        heads=scores[HEADS] if real else None,
        speaker_independent=unseen if real else None,
        stand_in={name.replace("-", "_"): score for name, score in scores.items()}
        if runs and stand_in
        else None,
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
    if stand_in:
        scores = report.stand_in or {}
        for prefix, column in (("", "stand-in"), ("unseen_", "stand-in, speaker-independent")):
            row[f"{column}: fine-tuned"] = _cell(scores.get(f"{prefix}fine_tuned"))
            row[f"{column}: heads"] = _cell(scores.get(f"{prefix}heads"))
    else:
        row["heads, same split"] = _cell(report.heads)
        unseen = report.speaker_independent
        row["speaker-independent: fine-tuned"] = _cell(unseen.fine_tuned if unseen else None)
        row["speaker-independent: heads"] = _cell(unseen.heads if unseen else None)
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


def _score(run: Path) -> Score:
    selected = read_json(run / SUMMARY)["selected"]
    return Score(
        accuracy=Interval(**selected["accuracy"]),
        uar=Interval(**selected["uar"]),
        clips=sum(entry["clips"] for entry in selected["classes"]),
    )


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    value, low, high = score.accuracy.value, score.accuracy.low, score.accuracy.high
    has_interval = low == low
    return f"{100 * value:.0f}" + (f" [{100 * low:.0f}, {100 * high:.0f}]" if has_interval else "")
