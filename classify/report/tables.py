"""A table of results, and its text as LaTeX and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerprobe.cache.common.disk import write_atomically
from layerprobe.cache.common.text import printable
from layerprobe.classify.report.escape import latex, markdown

Cell = str | float | int | None
INTERVAL = "95 % interval"  # header of a column


@dataclass(frozen=True, kw_only=True)
class Table:
    """name: stem of its files. columns: headers. rows: cells; None is empty, floats have three decimals."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def is_number(self, column: int) -> bool:
        """Whether the column holds numbers, which are aligned to the right."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and all(isinstance(cell, int | float) for cell in cells)


def cell_text(cell: Cell) -> str:
    """A cell as text without control characters."""
    if cell is None:
        return ""
    return f"{cell:.3f}" if isinstance(cell, float) else printable(str(cell))


def to_latex(table: Table) -> str:
    """A `table` environment with the rules of booktabs; every cell is escaped."""
    alignment = "".join("r" if table.is_number(k) else "l" for k in range(len(table.columns)))
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}; other scripts than Latin need LuaLaTeX",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(map(latex, table.columns)) + r" \\",
        r"\midrule",
        *(" & ".join(latex(cell_text(cell)) for cell in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_markdown(table: Table) -> str:
    """A table of GitHub's Markdown; every cell is escaped."""
    rules = ("---:" if table.is_number(k) else "---" for k in range(len(table.columns)))
    lines = [
        [markdown(name) for name in table.columns],
        list(rules),
        *([markdown(cell_text(cell)) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write_table(table: Table, folder: Path) -> None:
    """Write NAME.tex and NAME.md. Raises OSError."""
    write_atomically(folder / f"{table.name}.tex", to_latex(table))
    write_atomically(folder / f"{table.name}.md", to_markdown(table))
