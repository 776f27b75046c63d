"""The command `report`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from layerprobe.cache.common.console import print_json, say
from layerprobe.cache.common.options import FLAT, OutputOptions


@dataclass(frozen=True)
class ReportOptions:
    """Options of `report`."""

    runs: list[Path]
    """Run folders of classify and finetune; several are compared."""
    _: KW_ONLY
    out: Path | None = None
    """Folder for the page, its figures and its tables; `report` in the first run folder if omitted."""
    map: str = "pca"
    """How the map projects clips: pca, or umap, which takes longer and requires layerprobe[umap]."""
    output: Annotated[OutputOptions, FLAT] = OutputOptions()


def report(options: Annotated[ReportOptions, FLAT]) -> None:
    """Write a run as one page that needs no network, with figures and tables for a paper."""
    import layerprobe
    from layerprobe.classify.report.write import write_report

    out = options.runs[0] / "report" if options.out is None else options.out
    page = write_report(options.runs, out, map=options.map, version=str(layerprobe.__version__), report=say)
    if options.output.json:
        print_json({"page": page, "figures": out / "figures", "tables": out / "tables"})
        return
    print(f"page     {page}")
    print(f"figures  {out / 'figures'}")
    print(f"tables   {out / 'tables'}")
