"""Charts of linear probes over layers: scores of classes, compression of labels, R² for the sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from layerprobe.classify.controls.probes.tables import over_chance
from layerprobe.classify.report.figures.charts import Bars, Chart, Curves, Reference, score_bars, score_series
from layerprobe.classify.report.run_data import RunData

Score = Mapping[str, Any]
Targets = Sequence[Mapping[str, Any]]


def probe_charts(run: RunData) -> list[Chart]:
    """A chart for each measure that the run's probes have."""
    controls = run.summary["controls"]
    classes = controls.get("probes", {}).get("targets", ())
    sound = controls.get("acoustics", {}).get("targets", ())
    made = [
        _chart(
            [target for target in classes if "uar" in target["layers"][0]],
            name="probes",
            title="Linear probes: what each layer encodes",
            alt="The score of a linear probe for each target on each layer; 0 is chance, 1 is perfect.",
            label="(UAR − chance) / (1 − chance)",
            score=lambda target, entry: over_chance(entry["uar"], target["chance"]),
            reference=Reference(name="chance", value=0.0),
        ),
        _chart(
            [target for target in classes if "compression" in target["layers"][0]],
            name="description_length",
            title="Compression of the labels by online coding",
            alt="The uniform code's length over that of a code with the layer, for each target and layer.",
            label="uniform code / code with the layer",
            score=lambda _, entry: entry["compression"],
            reference=Reference(name="uniform code", value=1.0),
        ),
        _chart(
            sound,
            name="acoustics",
            title="Linear probes for the sound",
            alt="R² of a linear probe for each property of the sound on each layer.",
            label="R²",
            score=lambda _, entry: entry["r2"],
            reference=Reference(name="the mean", value=0.0),
        ),
    ]
    return [chart for chart in made if chart is not None]


def _chart(
    targets: Targets,
    *,
    name: str,
    title: str,
    alt: str,
    label: str,
    score: Callable[[Mapping[str, Any], Mapping[str, Any]], Score],
    reference: Reference,
) -> Chart | None:
    """A curve over layers for each target; of a single layer, a point for each. None without targets."""
    if not targets:
        return None
    layers = tuple(entry["layer"] for entry in targets[0]["layers"])
    scores = {target["target"]: [score(target, entry) for entry in target["layers"]] for target in targets}
    shared: dict[str, Any] = {"name": name, "alt": alt, "references": (reference,)}
    if len(layers) < 2:
        return Bars(
            **shared,
            title=title.replace("each layer", "the layer"),
            x_label=label,
            names=tuple(scores),
            **score_bars([own[0] for own in scores.values()]),
        )
    series = tuple(score_series(name, list(range(len(layers))), own) for name, own in scores.items())
    return Curves(**shared, title=title, x_label="layer", y_label=label, series=series, ticks=layers)
