"""The tables of linear probes in a report: scores with selectivity, description length, the sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.classify.report.run_data import RunData
from layerprobe.classify.report.tables import INTERVAL, Cell, Table
from layerprobe.classify.score_names import score_interval, score_text


def probe_tables(run: RunData) -> list[Table | None]:
    """A table for each measure; None where the run has no probes of it."""
    return [probes(run), description_length(run), acoustics(run)]


def probes(run: RunData) -> Table | None:
    """Linear probes: first, last and best layer of each target, with the selectivity on the best one."""
    targets = _probed(run, "uar")
    if not targets:
        return None
    rows: list[list[Cell]] = []
    for target in targets:
        entries = target["layers"]
        best = max(entries, key=lambda entry: entry["uar"]["value"])
        ends = (entries[0]["uar"]["value"], entries[-1]["uar"]["value"])
        rows.append(
            [
                *(target["target"], target["classes"], target["chance"], *ends),
                *(best["layer"], best["uar"]["value"], score_interval(best["uar"])),
                score_text(best["selectivity"], sign="+") if "selectivity" in best else "",
            ]
        )
    columns = ("target", "classes", "chance", "first layer", "last layer", "best layer", "its UAR", INTERVAL)
    return Table(name="probes", title="Linear probes", columns=(*columns, "its selectivity"), rows=rows)


def description_length(run: RunData) -> Table | None:
    """Minimum description length of each target's labels, on the layer that compresses them most."""
    targets = _probed(run, "compression")
    if not targets:
        return None
    rows: list[list[Cell]] = []
    for target in targets:
        best = max(target["layers"], key=lambda entry: entry["compression"]["value"])
        rows.append(
            [
                *(target["target"], target["classes"], best["layer"], f"{best['bits']:.0f}"),
                *(best["bits_per_label"]["value"], best["compression"]["value"]),
                score_interval(best["compression"]),
            ]
        )
    columns = ("target", "classes", "best layer", "bits", "bits per label", "compression", INTERVAL)
    title = "Minimum description length of the labels (online coding)"
    return Table(name="description_length", title=title, columns=columns, rows=rows)


def acoustics(run: RunData) -> Table | None:
    """R² of linear probes for the sound: first, last and best layer."""
    targets = _probed(run, "r2", of="acoustics")
    if not targets:
        return None
    rows: list[list[Cell]] = []
    for target in targets:
        entries = target["layers"]
        best = max(entries, key=lambda entry: entry["r2"]["value"])
        ends = (entries[0]["r2"]["value"], entries[-1]["r2"]["value"])
        rows.append([target["target"], *ends, best["layer"], best["r2"]["value"], score_interval(best["r2"])])
    columns = ("target", "first layer", "last layer", "best layer", "its R²", INTERVAL)
    title = f"Linear probes for the sound ({run.summary['controls']['acoustics']['source']})"
    return Table(name="acoustics", title=title, columns=columns, rows=rows)


def _probed(run: RunData, measure: str, *, of: str = "probes") -> list[Mapping[str, Any]]:
    """The targets of the probes that have a measure, which those of earlier versions may lack."""
    targets = run.summary["controls"].get(of, {}).get("targets", ())
    return [target for target in targets if measure in target["layers"][0]]
