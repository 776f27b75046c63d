"""Names from users' tables as text: nothing in them is markup, a formula or a control character."""

from __future__ import annotations

import html
import re

from markupsafe import Markup, escape

from layerprobe.cache.common.text import printable

LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "…": r"\ldots{}"},
}
MARKDOWN = frozenset("\\`*_{}[]<>()#|~!&$")
# Words of a script that is written from right to left, with the spaces and joiners between them.
_LETTERS = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff"
RIGHT_TO_LEFT = re.compile(f"[{_LETTERS}]+(?:[ \u200c\u200d]+[{_LETTERS}]+)*")
LONGEST = 28  # characters of a name in a figure


def shorten(text: object, *, longest: int = LONGEST) -> str:
    """Printable text that fits into a figure."""
    name = printable(str(text))
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def isolated(text: object) -> Markup:
    """Text for a page, in which names from right to left do not reorder the numbers beside them."""
    return Markup(RIGHT_TO_LEFT.sub(r"<bdi>\g<0></bdi>", str(escape(printable(str(text))))))


def plotly(text: object) -> str:
    """Text for Plotly, which reads tags and entities in every name."""
    return html.escape(printable(str(text)), quote=False)


def latex(text: object) -> str:
    return "".join(LATEX.get(c, c) for c in printable(str(text)))


def markdown(text: object) -> str:
    return "".join(f"\\{c}" if c in MARKDOWN else c for c in printable(str(text)))
