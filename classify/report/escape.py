"""Names from users' tables as text: nothing in them is markup, a formula or a control character."""

from __future__ import annotations

import html

from layerprobe.cache.common.text import printable

LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "…": r"\ldots{}"},
}
MARKDOWN = frozenset("\\`*_{}[]<>()#|~!&$")
LONGEST = 28  # characters of a name in a figure


def shorten(text: object, *, longest: int = LONGEST) -> str:
    """Printable text that fits into a figure."""
    name = printable(str(text))
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def plotly(text: object) -> str:
    """Text for Plotly, which reads tags and entities in every name."""
    return html.escape(printable(str(text)), quote=False)


def latex(text: object) -> str:
    return "".join(LATEX.get(c, c) for c in printable(str(text)))


def markdown(text: object) -> str:
    return "".join(f"\\{c}" if c in MARKDOWN else c for c in printable(str(text)))
