"""`Study`: a finished run folder in Python."""

from __future__ import annotations

import html
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.classify.config import main_metric
from layerprobe.classify.runs.bundle_files import BUNDLE
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
from layerprobe.classify.score_names import SCORE_NAMES, score_interval, score_text
from layerprobe.classify.scores.results import system_label

if TYPE_CHECKING:
    from layerprobe.classify.predict.bundle import Bundle


class Study:
    """The result of `layerprobe.classify`, or of any run folder of `classify`.

    out: the run folder. summary: summary.json.
    """

    def __init__(self, out: Path | str) -> None:
        """Raises InputError for a folder without a finished run."""
        self.out = Path(out)
        self.summary: dict[str, Any] = read_json(self.out / SUMMARY, holding="selected")

    @property
    def layers(self) -> Any:
        """Score and 95 % interval of every layer and head: a DataFrame if pandas is installed, else dicts."""
        metric = main_metric(self.summary)
        rows = [
            {
                "layer": entry["layer"],
                "head": entry["head"],
                **{
                    name: entry[metric][key]
                    for name, key in ((metric, "value"), ("low", "low"), ("high", "high"))
                },
            }
            for entry in self.summary["layers"]
        ]
        if find_spec("pandas") is None:
            return rows
        import pandas

        return pandas.DataFrame(rows)

    @property
    def bundle(self) -> Bundle:
        """The selected system, refitted on all clips. Raises InputError for a run without a bundle."""
        from layerprobe.classify.predict.bundle import load_bundle

        return load_bundle(self.out / BUNDLE)

    def __repr__(self) -> str:
        return f"Study({str(self.out)!r}: {self._headline()})"

    def _repr_html_(self) -> str:
        metric = main_metric(self.summary)
        cells = "".join(
            f"<tr><td>{html.escape(entry['layer'])}</td><td>{html.escape(entry['head'])}</td>"
            f"<td>{entry[metric]['value']:.3f}</td>"
            f"<td>{score_interval(entry[metric])}</td></tr>"
            for entry in sorted(self.summary["layers"], key=lambda entry: -entry[metric]["value"])
        )
        head = f"<tr><th>layer</th><th>head</th><th>{SCORE_NAMES[metric]}</th><th>95 % interval</th></tr>"
        return f"<p>{html.escape(self._headline())}</p><table>{head}{cells}</table>"

    def _headline(self) -> str:
        selected, metric = self.summary["selected"], main_metric(self.summary)
        system = system_label(selected["layer"], selected["head"])
        return f"{self.summary['model']}, {system}, {SCORE_NAMES[metric]} {score_text(selected[metric])}"
