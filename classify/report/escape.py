"""Names from users' tables as text: nothing in them is markup, a formula or a control character."""

from __future__ import annotations

import html

JOINERS = (
    "\u200c\u200d"  # letters of Arabic and Indic scripts need them; other invisible characters are shown
)
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "…": r"\ldots{}"},
}
MARKDOWN = frozenset("\\`*_{}[]<>()#|~!&$")
LONGEST = 28  # characters of a name in a figure


def printable(text: object) -> str:
    """Text without control characters, which become `\\x1b` and alike."""
    return "".join(c if c.isprintable() or c in JOINERS else _code(c) for c in str(text))


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def shorten(text: object, *, longest: int = LONGEST) -> str:
    """Printable text that fits into a figure."""
    name = printable(text)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def plotly(text: object) -> str:
    """Text for Plotly, which reads tags and entities in every name."""
    return html.escape(printable(text), quote=False)


def latex(text: object) -> str:
    return "".join(LATEX.get(c, c) for c in printable(text))


def markdown(text: object) -> str:
    return "".join(f"\\{c}" if c in MARKDOWN else c for c in printable(text))
