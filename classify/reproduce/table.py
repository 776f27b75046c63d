"""What came out of reproducing a published system: four runs of a row, set beside the published figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from layerprobe.classify.reproduce.published import CorpusSource, PublishedSystem
from layerprobe.classify.runs.folder import RUN, SUMMARY, read_json
from layerprobe.classify.scores.metrics import Interval

State = Literal["ready", "missing", "failed", "done"]
TUNED, HEADS, UNSEEN_TUNED, UNSEEN_HEADS = "fine-tuned", "heads", "unseen-fine-tuned", "unseen-heads"
RUNS = (TUNED, HEADS, UNSEEN_TUNED, UNSEEN_HEADS)  # names of the run folders of a row


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a run scored on its test clips."""

    accuracy: Interval
    uar: Interval
    clips: int


@dataclass(frozen=True, kw_only=True)
class SpeakerIndependent:
    """Both on speakers that training has never heard; None for a run that is not finished."""

    fine_tuned: Score | None
    heads: Score | None


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """What a stand-in scored, which says that all parts work and nothing about the system."""

    fine_tuned: Score | None
    heads: Score | None
    unseen_fine_tuned: Score | None
    unseen_heads: Score | None


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A corpus or weights that a row needs and that are not here: what was found instead, how to get them."""

    what: str
    here: str
    get: str
    licence: str
    expected: str

    @classmethod
    def corpus(cls, source: CorpusSource, *, here: str) -> Missing:
        return cls(
            what=f"corpus {source.name}: {source.title}, {source.clips:,} clips",
            here=here,
            get=source.where,
            licence=source.licence,
            expected=f"FOLDER/{source.name} for --corpora FOLDER; in it {source.layout}",
        )

    @classmethod
    def weights(cls, hub_id: str, *, here: str) -> Missing:
        return cls(
            what=f"weights {hub_id}",
            here=here,
            get=f"hf download {hub_id}, from the Hugging Face hub",
            licence="on the model's page",
            expected=f"the hub's cache; or FOLDER/{hub_id} for --weights FOLDER, with config.json and "
            "model.safetensors",
        )


@dataclass(frozen=True, kw_only=True)
class RowReport:
    """One row of the table.

    published: accuracy as published. reproduced: the fine-tuned system on the published split. heads: frozen,
    on the same split. honest: both on unseen speakers. stand_in: instead of these three, where the row was
    made of stand-ins. missing: what is not at hand, and how to get it. failures: runs that failed, and why.
    runs: folders of the runs that are finished.
    """

    row: str
    corpus: str
    model: str
    state: State
    published: float
    published_clips: int
    reproduced: Score | None
    heads: Score | None
    honest: SpeakerIndependent | None
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
    """From the runs that lie in `folder`, finished or not. Raises InputError for a run that is damaged."""
    runs = {name: folder / name for name in RUNS if _finished(folder / name)}
    score = {name: _score(read_json(runs[name] / SUMMARY)) if name in runs else None for name in RUNS}
    state: State = "done" if len(runs) == len(RUNS) else "missing" if missing else "ready"
    real = bool(runs) and not stand_in
    return RowReport(
        row=system.name,
        corpus=" + ".join(system.corpora),
        model=system.hub_id,
        state="failed" if failures else state,
        published=system.accuracy,
        published_clips=system.clips,
        reproduced=score[TUNED] if real else None,
        heads=score[HEADS] if real else None,
        honest=SpeakerIndependent(fine_tuned=score[UNSEEN_TUNED], heads=score[UNSEEN_HEADS])
        if real
        else None,
        stand_in=StandIn(
            fine_tuned=score[TUNED],
            heads=score[HEADS],
            unseen_fine_tuned=score[UNSEEN_TUNED],
            unseen_heads=score[UNSEEN_HEADS],
        )
        if runs and stand_in
        else None,
        missing=tuple(missing),
        failures=tuple(failures),
        notes=tuple(notes),
        runs=runs,
    )


def table_row(report: RowReport, *, stand_in: bool) -> dict[str, object]:
    """The row as a person reads it: accuracy in per cent, with its interval over speakers."""
    told: dict[str, object] = {"row": report.row, "published": f"{100 * report.published:.0f}"}
    told["reproduced"] = _told(report.reproduced)
    if stand_in:
        made = report.stand_in or StandIn(
            fine_tuned=None, heads=None, unseen_fine_tuned=None, unseen_heads=None
        )
        told["stand-in: fine-tuned"] = _told(made.fine_tuned)
        told["stand-in: heads"] = _told(made.heads)
        told["stand-in, unseen: fine-tuned"] = _told(made.unseen_fine_tuned)
        told["stand-in, unseen: heads"] = _told(made.unseen_heads)
    else:
        honest = report.honest or SpeakerIndependent(fine_tuned=None, heads=None)
        told["heads, same split"] = _told(report.heads)
        told["honest: fine-tuned"] = _told(honest.fine_tuned)
        told["honest: heads"] = _told(honest.heads)
    return {**told, "state": report.state}


def plan_row(report: RowReport) -> dict[str, object]:
    """What a row is and whether it can run."""
    return {
        "row": report.row,
        "corpus": report.corpus,
        "model": report.model,
        "published": f"{100 * report.published:.0f}",
        "state": report.state,
        "finished": f"{len(report.runs)} of {len(RUNS)} runs",
    }


def _finished(run: Path) -> bool:
    return (run / RUN).is_file() and bool(read_json(run / RUN).get("finished"))


def _score(summary: Mapping[str, Any]) -> Score:
    chosen = summary["selected"]
    return Score(
        accuracy=Interval(**chosen["accuracy"]),
        uar=Interval(**chosen["uar"]),
        clips=sum(entry["clips"] for entry in chosen["classes"]),
    )


def _told(score: Score | None) -> str:
    if score is None:
        return ""
    value, low, high = score.accuracy.value, score.accuracy.low, score.accuracy.high
    known = low is not None and low == low
    return f"{100 * value:.0f}" + (f" [{100 * low:.0f}, {100 * high:.0f}]" if known else "")
