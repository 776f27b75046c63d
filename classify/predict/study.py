"""`Study`: a finished run folder in Python."""

from __future__ import annotations

import html
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cache.common.text import format_interval
from layerprobe.classify.runs.bundle_files import BUNDLE
from layerprobe.classify.runs.run_folder import SUMMARY, read_json
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
        rows = [
            {
                "layer": entry["layer"],
                "head": entry["head"],
                **{
                    name: entry["uar"][key]
                    for name, key in (("uar", "value"), ("low", "low"), ("high", "high"))
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
        cells = "".join(
            f"<tr><td>{html.escape(entry['layer'])}</td><td>{html.escape(entry['head'])}</td>"
            f"<td>{entry['uar']['value']:.3f}</td>"
            f"<td>{format_interval(entry['uar']['low'], entry['uar']['high'])}</td></tr>"
            for entry in sorted(self.summary["layers"], key=lambda entry: -entry["uar"]["value"])
        )
        head = "<tr><th>layer</th><th>head</th><th>UAR</th><th>95 % interval</th></tr>"
        return f"<p>{html.escape(self._headline())}</p><table>{head}{cells}</table>"

    def _headline(self) -> str:
        selected = self.summary["selected"]
        uar = selected["uar"]
        score = f"UAR {uar['value']:.3f} {format_interval(uar['low'], uar['high'])}".rstrip()
        return f"{self.summary['model']}, {system_label(selected['layer'], selected['head'])}, {score}"
